"""Sources of visits: addresses, GA4's channels, and the source of each session."""

import csv
import re
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from clickstream.storage.schema import SCHEMA_FILE
from tests.services.databases import Query

ENTRIES = Path(__file__).parents[1] / "data" / "entry_sources.csv"
PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
SESSION = """
    INSERT INTO session_metrics
           (session_id, user_id, total_events, event_type_counts, first_event_timestamp,
            last_event_timestamp, first_event_id, last_event_id, unique_pages, unique_pages_count,
            total_revenue, orders_count, products_viewed, products_viewed_count, search_queries,
            referrers, unique_referrers_count, is_bounce, landing_page, entry_referrer)
    SELECT md5(number::text)::uuid, number::text, 1, '{}', now(), now(), md5(number::text)::uuid,
           md5(number::text)::uuid, '[]', 0, 0, 0, '[]', 0, '[]', '[]', 0, true,
           nullif(page, ''), nullif(referrer, '')
    FROM unnest(%(pages)s::text[], %(referrers)s::text[]) WITH ORDINALITY
        AS entries (page, referrer, number)
"""
SOURCES = "SELECT source, medium, channel FROM session_sources ORDER BY user_id::int"
CHANNELS = """
    SELECT source, medium, campaign, category,
           default_channel_group(source, medium, campaign, category)
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
        AS rules (source, medium, campaign, category)
"""
FUNCTIONS = """
    SELECT url_origin(url), url_host(url), url_parameter(url, 'utm_source'), url_decoded(url),
           source_keys(url), is_same_site(url, url), page_path(url),
           default_channel_group(url, url, url, url)
    FROM (VALUES (%s)) AS v (url)
"""
ORDINARY = "SELECT url_origin(%(url)s), url_host(%(url)s), url_parameter(%(url)s, %(name)s)"


def entries() -> list[dict[str, str]]:
    with ENTRIES.open(newline="") as file:
        return list(csv.DictReader(file))


def store_sessions(query: Query, pages: list[str], referrers: list[str]) -> None:
    query(SESSION, {"pages": pages, "referrers": referrers})


def test_each_landing_page_and_referrer_has_the_source_and_channel_checked_by_hand(
    query: Query,
) -> None:
    query("INSERT INTO site_hosts VALUES ('pay.example')")
    rows = entries()
    assert len(rows) > 60
    store_sessions(
        query, [row["landing_page"] for row in rows], [row["entry_referrer"] for row in rows]
    )
    for row, found in zip(rows, query(SOURCES), strict=True):
        assert found == (row["source"], row["medium"], row["channel"]), row


def test_a_session_shows_its_campaign_and_click_id_and_the_first_of_two_values(
    query: Query,
) -> None:
    parameters = {
        "utm_source": "facebook",
        "utm_medium": "paid_social",
        "utm_campaign": "Été 100 %",
        "utm_term": "red+shoes & co",
        "utm_content": "carousel=2",
        "fbclid": "IwAR-1_x",
    }
    page = f"https://shop.example/sale/?{urlencode(parameters)}&utm_campaign=second#top"
    store_sessions(query, [page], ["https://L.Facebook.com:443/l.php"])
    assert query("""
        SELECT referrer_host, campaign, term, content, click_id, click_network, landing_path
        FROM session_sources
    """) == [
        (
            *("l.facebook.com", "Été 100 %", "red+shoes & co", "carousel=2"),
            *("IwAR-1_x", "Meta", "/sale/"),
        )
    ]


# GA4's table, row by row: source, medium, campaign, category of the source -> channel. Each row of
# the table has the cases that it names, and one that an earlier row takes.
PAID_MEDIA = ("cpc", "cpm", "xcpx", "ppc", "retargeting", "paid", "paidsearch", "PAID-social")
SHOP_CAMPAIGNS = ("shop", "my-shop", "eshop", "SHOPPING", "xshopping1", "the shop!")
NO_SHOP_CAMPAIGNS = ("workshop", "bishop", "sho", None)
Rule = tuple[str | None, str | None, str | None, str | None]
TABLE: list[tuple[str, list[Rule]]] = [
    ("Direct", [("(direct)", "(none)", None, None), ("(direct)", "(not set)", "x", None)]),
    (
        "Cross-network",
        [("google", "cpc", "a cross-network b", "search"), ("x", None, "Cross-Network", None)],
    ),
    (
        "Paid Shopping",
        [
            *(("amazon", medium, None, "shopping") for medium in PAID_MEDIA),
            *(("google", "cpc", campaign, "search") for campaign in SHOP_CAMPAIGNS),
        ],
    ),
    (
        "Paid Search",
        [
            *(("google", medium, None, "search") for medium in PAID_MEDIA),
            *(("google", "cpc", campaign, "search") for campaign in NO_SHOP_CAMPAIGNS),
        ],
    ),
    ("Paid Social", [("facebook", medium, None, "social") for medium in PAID_MEDIA]),
    ("Paid Video", [("youtube", medium, None, "video") for medium in PAID_MEDIA]),
    (
        "Display",
        [
            ("x", medium, None, None)
            for medium in ("display", "banner", "expandable", "interstitial", "cpm", "CPM")
        ],
    ),
    (
        "Paid Other",
        [("x", medium, None, None) for medium in PAID_MEDIA if medium != "cpm"]
        + [("chatgpt.com", "cpc", None, "ai_assistant"), ("x", "cpc", None, "other")],
    ),
    (
        "Organic Shopping",
        [
            ("amazon", "referral", None, "shopping"),
            *(("x", "email", campaign, None) for campaign in SHOP_CAMPAIGNS),
        ],
    ),
    (
        "Organic Social",
        [
            ("facebook", "referral", None, "social"),
            *(
                ("x", medium, None, None)
                for medium in (
                    *("social", "social-network", "social-media", "sm"),
                    *("social network", "social media", "Social"),
                )
            ),
        ],
    ),
    (
        "Organic Video",
        [("vimeo", "link", None, "video"), *(("x", m, None, None) for m in ("video", "a video b"))],
    ),
    ("Organic Search", [("bing", "email", None, "search"), ("x", "organic", None, None)]),
    (
        "AI Assistant",
        [("chatgpt.com", "(not set)", None, "ai_assistant"), ("x", "ai-assistant", None, None)],
    ),
    ("Referral", [("email", medium, None, None) for medium in ("referral", "app", "link", "Link")]),
    (
        "Email",
        [
            *(("x", name, None, None) for name in ("email", "e-mail", "e_mail", "e mail", "EMAIL")),
            *(("E-Mail", "affiliate", None, None), ("e mail", None, None, None)),
        ],
    ),
    ("Affiliates", [("sms", "affiliate", None, None)]),
    ("Audio", [("sms", "audio", None, None)]),
    ("SMS", [("sms", "push", None, None), ("x", "sms", None, None)]),
    (
        "Mobile Push Notifications",
        [
            *(("x", medium, None, None) for medium in ("push", "web-push", "mobile", "a mobile b")),
            *(("x", "notifications", None, None), ("firebase", "x", None, None)),
        ],
    ),
    (
        "Unassigned",
        [
            *(("x", medium, None, None) for medium in ("affiliates", "pushed", "smss", "qr", None)),
            *(("x", "emails", "workshop", None), ("(direct)", "x", None, None)),
            *((None, None, None, None), ("google", "app store", None, "other")),
        ],
    ),
]


def test_channels_are_those_of_ga4s_table_row_by_row(query: Query) -> None:
    rules = [(*rule, channel) for channel, cases in TABLE for rule in cases]
    arguments = [[rule[column] for rule in rules] for column in range(4)]
    assert query(CHANNELS, arguments) == rules


def test_each_kind_of_site_has_many_well_known_ones_and_an_upgrade_keeps_what_you_changed(
    query: Query,
) -> None:
    numbers = "SELECT category, count(*) FROM source_categories GROUP BY category"
    assert {name: n > 100 for name, n in query(numbers)} | {"ai_assistant": True} == dict.fromkeys(
        ("search", "social", "shopping", "video", "ai_assistant"), True
    )
    store_sessions(
        query, ["https://shop.example/"] * 2, ["https://t.co/", "https://sub.my.example/"]
    )
    query("UPDATE source_categories SET category = 'other' WHERE source = 't.co'")
    query("INSERT INTO source_categories VALUES ('my.example', 'search', 'mine')")
    query("UPDATE conversion_events SET event_type = 'signup'")
    query(SCHEMA_FILE.read_text())
    assert query(SOURCES) == [
        ("t.co", "referral", "Referral"),
        ("mine", "organic", "Organic Search"),
    ]
    assert query("SELECT event_type FROM conversion_events") == [("signup",)]


def test_the_statements_of_the_page_on_sources_run(query: Query) -> None:
    blocks = re.findall(r"^```sql\n(.+?)^```", PAGE.read_text(), re.M | re.S)
    statements = [each for block in blocks for each in block.split(";\n") if each.strip()]
    assert len(statements) > 5
    for statement in statements:
        query(statement)


# == Functions ==================================================================================

hosts = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}\.){0,3}[a-zA-Z]{2,5}", fullmatch=True)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
names = st.sampled_from(["utm_source", "a", "gclid", "q"])


@st.composite
def ordinary_urls(draw: st.DrawFn) -> str:
    user = draw(st.sampled_from(["", "", "me@", "me:secret@"]))
    port = draw(st.sampled_from(["", "", ":80", ":8443"]))
    scheme = draw(st.sampled_from(["http", "https", "HTTPS", "android-app"]))
    pairs = draw(st.lists(st.tuples(names, texts), max_size=4))
    query = urlencode(pairs) if draw(st.booleans()) else urlencode(pairs, quote_via=quote)
    fragment = draw(st.sampled_from(["", "#top", "#?a=1&q=2"]))
    path = quote(draw(texts))
    return f"{scheme}://{user}{draw(hosts)}{port}/{path}{'?' + query if query else ''}{fragment}"


# Each example is one round trip to the server.
@examples(max_examples=examples().max_examples * 3)
@given(ordinary_urls(), names)
def test_origin_host_and_parameters_of_ordinary_addresses_are_those_of_urllib(
    query: Query, url: str, name: str
) -> None:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    values = parse_qs(parts.query, keep_blank_values=True).get(name, [""])
    expected = (f"{parts.scheme}://{parts.hostname}{port}", parts.hostname, values[0] or None)
    assert query(ORDINARY, {"url": url, "name": name}) == [expected]


pieces = st.sampled_from(
    [
        *("%", "%0", "%00", "%C3", "%c3%bc", "%E2%82", "%ED%A0%80", "%F4%90%80%80", "%F0%9F%98%80"),
        *("%FF", "%zz", "+", "&", "=", "?", "#", "://", "https://", "@", "[", "]", ":", "/", "\\"),
        *("utm_source=", "www.", ".", "a", "é", "\U0001f600", " ", "\n", "'", "(", ")*", "shop"),
    ]
)


@examples(max_examples=examples().max_examples * 3)
@given(st.lists(pieces, max_size=12).map("".join) | texts)
def test_the_functions_accept_any_text(query: Query, url: str) -> None:
    query(FUNCTIONS, (url,))


UNCHANGED = ("%00", "%C3", "%C3x", "%", "%2", "%zz", "%ED%A0%80", "%C0%80", "%F4%90%80%80")
ESCAPES = {text: text for text in UNCHANGED} | {
    "%C3%BC%c3%bc": "üü",
    "a+b%2Bc%20d": "a b+c d",
    "%F0%9F%98%80": "\U0001f600",
    "%E2%82%C3%BC": "%E2%82ü",
    "%7F%01": "\x7f\x01",
    "100%25%": "100%%",
}


def test_escapes_are_decoded_and_those_that_are_no_text_stay(query: Query) -> None:
    found = query("SELECT sent, url_decoded(sent) FROM unnest(%s) AS sent", (list(ESCAPES),))
    assert dict(found) == ESCAPES


def test_a_parameter_can_be_indexed(query: Query) -> None:
    query("CREATE INDEX by_term ON session_metrics (url_parameter(landing_page, 'utm_term'))")
    query("SET enable_seqscan = off")
    condition = "url_parameter(landing_page, 'utm_term') = 'shoes'"
    plan = query(f"EXPLAIN SELECT FROM session_metrics WHERE {condition}")
    assert "by_term" in "".join(line for (line,) in plan)
