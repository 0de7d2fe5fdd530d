"""summary.py prints the report, one session or another timeout, or one sentence on an error."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from clickstream.clients.postgres import connect
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import START, event
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

RULE = Rule(timedelta(minutes=30), frozenset({"login"}), frozenset({"logout"}))
HOSTILE = "\x1b[2J\x9b31m[bold]<script>"
# Two visitors: a buyer with four sessions, split by each part of the rule, and a hostile one.
EVENTS = [
    event("buyer", 0, page_url="/", device_type="mobile", country="NO", referrer="https://r/"),
    event("buyer", 5, "search", search_query="socks", page_url="/search"),
    event("buyer", 60, "add_to_cart", page_url="/p1", product_id="p1", price=2.5),
    event("buyer", 120, "purchase", product_id="p1", price=2.5, quantity=2, order_id="o1"),
    event("buyer", 120, "purchase", product_id="p2", price=1, order_id="o1"),
    event("buyer", 150, "logout"),
    event("buyer", 200, page_url="/"),
    event("buyer", 260, "login", page_url="/login"),
    event("buyer", 260 + 42 * 60, page_url="/"),
    event("hostile", 0, HOSTILE, page_url=HOSTILE, device_type=HOSTILE, country=HOSTILE),
]
# One visitor with two sessions within a minute and a third one an hour later, and another visitor.
CHARTED = [
    event("a", 0, page_url="https://shop.example/?utm=1"),
    event("a", 5, "hover", page_url="/hovered"),
    event("a", 10, page_url="/a"),
    event("a", 15, page_url="/a?again"),
    event("a", 20, "purchase", price=2.5, quantity=3, product_category="toys"),
    event("a", 25, "logout"),
    event("a", 30, page_url="/b"),
    event("a", 3_700, page_url="/a", article_category="politics", device_type="tablet"),
    event("a", 3_710, page_url="/", article_category="politics", device_type="tablet"),
    event("a", 3_770, page_url="/a"),
    event("b", 0, page_url="/"),
]
SESSIONS = """
    SELECT session_id FROM session_metrics WHERE user_id = %s ORDER BY first_event_timestamp
"""
WAITING = """
    SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE NOT granted AND datname = current_database()
"""


@pytest.fixture
def batches(settings: Settings) -> Iterator[Batches]:
    """Store batches of events, from empty tables on."""
    with closing(connect(settings, application="test")) as connection:
        yield Batches(connection, RULE)


@pytest.fixture
def stored(batches: Batches) -> Batches:
    """Tables with EVENTS, a duplicate of one and a rejected record."""
    batches.store([[*EVENTS, EVENTS[0]], [b"no JSON"]])
    return batches


def as_json(run_script: RunScript, *arguments: str) -> Any:
    done = run_script("summary.py", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    return json.loads(done.stdout)


# == The report =================================================================================


@pytest.mark.usefixtures("stored")
def test_json_has_every_figure(run_script: RunScript) -> None:
    report = as_json(run_script)
    assert report["overview"] == {
        "events": 10,
        "first_event": START.isoformat(),
        "last_event": (START + timedelta(seconds=260 + 42 * 60)).isoformat(),
        "sessions": 5,
        "visitors": 2,
        "orders": 1,
        "revenue": "6.0000",
    }
    assert report["rule"] == {
        "timeout_seconds": 1800,
        "start_events": ["login"],
        "end_events": ["logout"],
    }
    sessions = report["sessions"]
    assert (sessions["open"], sessions["closed_by_end_event"]) == (4, 1)
    assert (sessions["events_mean"], sessions["events_max"]) == (2.0, 6)
    assert (sessions["duration_mean"], sessions["duration_max"]) == (0.5, 2.5)
    assert sessions["bounce_rate"] == 0.8
    assert report["event_types"][0] == {"event_type": "page_view", "events": 3, "share": 0.3}
    assert sum(each["events"] for each in report["traffic"]["buckets"]) == 10
    assert [(step["step"], step["sessions"]) for step in report["funnel"]] == [
        ("session", 5),
        ("page_view", 3),
        ("add_to_cart", 1),
        ("purchase", 1),
    ]
    assert report["revenue"]["per_order"] == "6.0000"
    assert report["revenue"]["conversion_rate"] == 0.2
    assert report["products"][0] == {
        "product_id": "p1",
        "product_category": None,
        "units": 2,
        "revenue": "5.0000",
    }
    assert report["pages"][0] == {
        "page_path": "/",
        "page_url": "/",
        "views": 3,
        "events": 3,
        "landings": 3,
        "exits": 2,
    }
    assert [(each["user_id"], each["sessions"]) for each in report["visitors"]] == [
        ("buyer", 4),
        ("hostile", 1),
    ]
    assert {(each["name"], each["sessions"]) for each in report["devices"]} == {
        ("mobile", 1),
        (None, 3),
        (HOSTILE, 1),
    }
    assert report["countries"][0]["share"] == 0.6
    figures = ("name", "sessions", "share", "bounce_rate", "orders", "revenue")
    by_source = {
        kind: [tuple(each[name] for name in figures) for each in groups]
        for kind, groups in report["visit_sources"].items()
        if kind != "conversions"
    }
    linked, direct = (1, 0.2, 0.0, 1, "6.0000"), (4, 0.8, 1.0, 0, "0.0000")
    assert by_source == {
        "channels": [("Direct", *direct), ("Referral", *linked)],
        "sources": [("(direct) / (none)", *direct), ("r / referral", *linked)],
        "campaigns": [],
        "new_and_returning": [
            ("later sessions", 3, 0.6, 1.0, 0, "0.0000"),
            ("first sessions", 2, 0.4, 0.5, 1, "6.0000"),
        ],
    }
    assert report["visit_sources"]["conversions"] == [
        {"event_type": "purchase", "conversions": 1, "visitors": 1, "value": "6.0000"}
    ]


def test_json_has_the_figures_of_every_chart(batches: Batches, run_script: RunScript) -> None:
    batches.store([CHARTED])
    charts = as_json(run_script)["charts"]
    later = (START + timedelta(minutes=61)).isoformat()
    assert [each for each in charts["sessions_over_time"] if each["sessions"]] == [
        {"start": START.isoformat(), "sessions": 3, "first": 2, "engaged": 1},
        {"start": later, "sessions": 1, "first": 0, "engaged": 1},
    ]
    revenue = [Decimal(each["revenue"]) for each in charts["revenue_over_time"]]
    assert (revenue[0], sum(revenue)) == (Decimal("7.5"), Decimal("7.5"))
    assert charts["engagement"] == {
        "visitors": 2,
        "new_visitors": 2,
        "returning_visitors": 1,
        "sessions": 4,
        "engaged_sessions": 2,
    }
    durations = {each["from_seconds"]: each["sessions"] for each in charts["durations"]}
    assert {seconds: n for seconds, n in durations.items() if n} == {0: 2, 10: 1, 60: 1}
    assert charts["hours"] == [
        {"weekday": 1, "hour": 10, "events": 8},
        {"weekday": 1, "hour": 11, "events": 3},
    ]
    assert charts["articles"] == [{"category": "politics", "device_type": "tablet", "events": 2}]
    assert charts["products"] == [{"category": "toys", "device_type": None, "events": 1}]


def test_json_has_the_steps_from_page_to_page_within_sessions(
    batches: Batches, run_script: RunScript
) -> None:
    """The last page of a session and the first of the next one are no step; neither is a reload."""
    batches.store([CHARTED])
    assert as_json(run_script)["charts"]["transitions"] == [
        {"from_path": "/", "to_path": "/a", "views": 2},
        {"from_path": "/a", "to_path": "/", "views": 1},
    ]


def test_visitors_with_sessions_before_the_time_asked_for_are_returning(
    batches: Batches, run_script: RunScript
) -> None:
    batches.store([CHARTED])
    later = as_json(run_script, "--since", (START + timedelta(hours=1)).isoformat())["charts"]
    assert later["engagement"]["new_visitors"] == 0
    assert later["engagement"]["returning_visitors"] == 1
    assert [each["first"] for each in later["sessions_over_time"] if each["sessions"]] == [0]


def test_json_has_throughput_and_delay_of_the_last_hour(
    batches: Batches, run_script: RunScript
) -> None:
    now = datetime.now(UTC)
    events = [event("a", n, timestamp=(now - timedelta(seconds=100)).isoformat()) for n in range(4)]
    batches.store([events])
    (bucket,) = as_json(run_script)["charts"]["ingest"]["buckets"]
    assert bucket["events"] == 4
    assert 100 <= bucket["delay_median"] <= bucket["delay_p95"] < 700


@pytest.mark.usefixtures("stored")
def test_json_has_the_outcome_of_every_record(run_script: RunScript) -> None:
    quality = as_json(run_script)["quality"]
    stored_at = datetime.fromisoformat(quality.pop("last_stored"))
    assert abs(datetime.now(UTC) - stored_at) < timedelta(minutes=10)
    assert quality == {
        "partitions": 2,
        "records": 12,
        "rows": 10,
        "duplicates": 1,
        "rejected": 1,
        "rejected_by_reason": [
            {
                "reason": "not_json",
                "records": 1,
                "list_command": "python -m clickstream rejected list --reason not_json",
            }
        ],
        "repaired_by_field": [],
        "repeated_event_ids": 0,
        "suspect_visitors": [],
        "removed": 0,
        "late": quality["late"],
        "open_sessions": 4,
        "newest_event": (START + timedelta(seconds=260 + 42 * 60)).isoformat(),
        "caught_up": None,
        "search": None,
        "kept_from": None,
    }


@pytest.mark.usefixtures("stored")
def test_the_report_is_text_of_80_columns(run_script: RunScript) -> None:
    done = run_script("summary.py")
    assert (done.returncode, done.stderr) == (0, "")
    for title in (
        "Sessions",
        "Event types",
        "Funnel",
        "Revenue",
        "Top pages",
        "Top visitors",
        "Latest sessions with orders",
        "Longest sessions",
        "Devices",
        "Countries",
        "Channels",
        "Sources",
        "New and returning visitors",
        "Conversions",
        "Data quality, since the beginning",
    ):
        assert f"\n{title}\n" in done.stdout
    assert "12 read from 2 partitions" in done.stdout
    assert "10 rows + 1 duplicates + 1 rejected\n" in done.stdout
    assert "2025-06-02 10:00:00 UTC to 2025-06-02 10:46:20 UTC" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not set(done.stdout) & set("\x1b\x9b")


def test_the_report_covers_all_years(batches: Batches, run_script: RunScript) -> None:
    times = ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z", START.isoformat()]
    batches.store([[event("a", 0, timestamp=time) for time in times]])
    traffic = as_json(run_script)["traffic"]
    assert len(traffic["buckets"]) < 80
    assert traffic["buckets"][0] == {"start": "0001-01-01T00:00:00+00:00", "events": 1}
    assert sum(each["events"] for each in traffic["buckets"]) == 3
    assert run_script("summary.py", "--html", "report.html").returncode == 0


def test_days_and_hours_are_those_of_the_time_zone(
    batches: Batches, run_script: RunScript, query: Query
) -> None:
    """On 26 October 2025 Oslo's clocks go from 03:00 back to 02:00; JSON has all times in UTC."""
    times = [f"2025-10-{day}T{hour:02}:30:00Z" for day in (20, 25, 26) for hour in (0, 1, 21, 23)]
    batches.store([[event("a", 0, timestamp=time) for time in times]])
    zone = {"REPORT_TIMEZONE": "Europe/Oslo"}
    done = run_script("summary.py", "--json", **zone)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["time_zone"] == "Europe/Oslo"
    assert report["overview"]["first_event"] == "2025-10-20T00:30:00+00:00"
    hours = report["charts"]["hours"]
    assert {(each["weekday"], each["hour"]): each["events"] for each in hours} == {
        (1, 2): 1, (1, 3): 1, (1, 23): 1, (2, 1): 1,
        (6, 2): 1, (6, 3): 1, (6, 23): 1,
        (7, 1): 1, (7, 2): 2, (7, 22): 1, (1, 0): 1,
    }  # fmt: skip
    assert report["traffic"]["bucket_seconds"] == 21_600
    buckets = {each["start"]: each["events"] for each in report["traffic"]["buckets"]}
    assert (buckets["2025-10-25T22:00:00+00:00"], buckets["2025-10-26T17:00:00+00:00"]) == (3, 1)
    assert sum(buckets.values()) == len(times)
    text = run_script("summary.py", **zone).stdout
    assert "2025-10-20 02:30:00 CEST to 2025-10-27 00:30:00 CET" in text
    ((session_id,), *_) = query(SESSIONS, ("a",))
    session = run_script("summary.py", "--session", session_id, **zone).stdout
    assert "2025-10-20 02:30:00 CEST: first event" in session
    assert "time (Europe/Oslo)" in session
    assert "2025-10-27 00:30" in run_script("summary.py", "--visitor", "a", **zone).stdout


def test_one_event_of_1995_among_thousands_of_today_does_not_flatten_the_chart(
    batches: Batches, run_script: RunScript
) -> None:
    wrong = event("a", 0, timestamp="1995-01-01T00:00:00Z")
    batches.store([[wrong, *(event("b", n) for n in range(2_000))]])
    traffic = as_json(run_script)["traffic"]
    assert (traffic["bucket_seconds"], traffic["events_outside"]) == (60, 1)
    assert len(traffic["buckets"]) == 34
    assert sum(each["events"] for each in traffic["buckets"]) == 2_000
    since = as_json(run_script, "--since", START.isoformat())["traffic"]
    assert since == {**traffic, "events_outside": 0}
    assert run_script("summary.py", "--html", "report.html").returncode == 0


def test_addresses_that_differ_in_origin_query_or_fragment_are_one_page(
    batches: Batches, run_script: RunScript
) -> None:
    addresses = [
        "https://shop.example/p?utm=1",
        "http://www.shop.example/p#top",
        "/p?id=http://x/y",
        "/p",
        "https://shop.example/p?utm=1",
        "https://shop.example",
        "https://shop.example/?q=a",
    ]
    batches.store([[event("a", n, page_url=url) for n, url in enumerate(addresses)]])
    batches.store([[event("b", 0, "login")]])  # landed on no page
    pages = as_json(run_script)["pages"]
    assert [(each["page_path"], each["views"], each["page_url"]) for each in pages] == [
        ("/p", 5, "https://shop.example/p?utm=1"),
        ("/", 2, "https://shop.example"),
    ]
    assert [(each["landings"], each["exits"]) for each in pages] == [(1, 0), (0, 1)]


def test_the_id_of_a_click_does_not_change_the_source_of_a_visit(
    batches: Batches, run_script: RunScript
) -> None:
    queries = [
        *("gclid=1", "x=1&gclid=2#gclid=3", "gclid=", "clid=4"),
        *("utm_campaign=a&fbclid=5", "fbclid=6&utm_campaign=a", "utm_campaign=b?gclid=7"),
        "utm_campaign=b?gclid=8",
    ]
    urls = [f"https://shop.example/?{query}" for query in queries]
    batches.store([[event(f"v{n}", 0, page_url=url) for n, url in enumerate(urls)]])
    found = as_json(run_script)["visit_sources"]
    assert {each["name"]: each["sessions"] for each in found["sources"]} == {
        "google / cpc": 2,
        "facebook / referral": 2,
        "(direct) / (none)": 4,
    }
    assert {each["name"]: each["sessions"] for each in found["campaigns"]} == {
        "a": 2,
        "b?gclid=7": 1,
        "b?gclid=8": 1,
    }


PLACEHOLDERS = ["undefined", "NULL", "None", "NaN", "[object Object]", " null\t"]


def test_visitors_that_look_like_placeholders_are_named(
    batches: Batches, run_script: RunScript
) -> None:
    """The list has the ids as they were sent; a part of a word is no placeholder."""
    events = [event(user_id, 0) for user_id in (*PLACEHOLDERS, "nullable", "nan0")]
    batches.store([[*events, event("undefined", 1)]])
    suspects = as_json(run_script)["quality"]["suspect_visitors"]
    assert suspects[0] == {
        "user_id": "undefined",
        "events": 2,
        "sessions": 1,
        "share": pytest.approx(2 / 9),
        "is_placeholder": True,
    }
    assert sorted(each["user_id"] for each in suspects) == sorted(PLACEHOLDERS)
    assert '"undefined" has 2 events (22.2%)' in run_script("summary.py").stdout


def test_a_visitor_with_more_than_a_fifth_of_at_least_1000_events_is_named(
    batches: Batches, run_script: RunScript
) -> None:
    others = [event(f"visitor-{n}", n) for n in range(798)]
    batches.store([[*others, *(event("crawler", n) for n in range(201))]])
    assert as_json(run_script)["quality"]["suspect_visitors"] == []
    batches.store([[event("visitor-0", 1)]])
    (suspect,) = as_json(run_script)["quality"]["suspect_visitors"]
    assert (suspect["user_id"], suspect["events"]) == ("crawler", 201)
    assert suspect["is_placeholder"] is False
    batches.store([[event(f"visitor-{n}", n) for n in range(5)]])
    assert as_json(run_script)["quality"]["suspect_visitors"] == []


def test_repairs_are_counted_by_field_and_the_revenue_of_repaired_lines_is_summed_apart(
    batches: Batches, run_script: RunScript
) -> None:
    lines = [
        event("a", 0, "purchase", price=2, quantity="many"),
        event("a", 1, "purchase", price=0.12345, ip="unknown"),
        event("a", 2, "purchase", price=10, quantity=3, page_url="/\0"),
    ]
    batches.store([lines])
    report = as_json(run_script)
    assert report["quality"]["repaired_by_field"] == [
        {"field": "ip_address", "events": 1},
        {"field": "page_url", "events": 1},
        {"field": "price", "events": 1},
        {"field": "quantity", "events": 1},
    ]
    assert report["revenue"]["total"] == "32.1234"
    assert report["revenue"]["repaired"] == "2.1234"
    later = as_json(run_script, "--since", (START + timedelta(seconds=1)).isoformat())
    assert later["revenue"]["repaired"] == "0.1234"


def test_events_whose_id_is_stored_with_another_time_are_counted(
    batches: Batches, run_script: RunScript
) -> None:
    """An event that is sent again with a new timestamp is stored twice."""
    first = event("a", 0)
    batches.store([[first, first | {"timestamp": START.isoformat()}, event("a", 1)]])
    assert as_json(run_script)["quality"]["repeated_event_ids"] == 0
    again = event("a", 5, event_id=first["event_id"])
    batches.store([[again, again | {"timestamp": "2025-06-02T10:00:06Z"}]])
    assert as_json(run_script)["quality"]["repeated_event_ids"] == 2
    assert "2 rows have an event_id" in run_script("summary.py").stdout


@pytest.mark.usefixtures("stored")
def test_since_a_time_counts_later_events_and_sessions(run_script: RunScript) -> None:
    report = as_json(run_script, "--since", (START + timedelta(seconds=200)).isoformat())
    assert report["since"] == (START + timedelta(seconds=200)).isoformat()
    assert report["overview"]["events"] == 3
    assert report["overview"]["sessions"] == 3
    assert Decimal(report["overview"]["revenue"]) == 0
    assert report["quality"]["rows"] == 10
    sources = report["visit_sources"]
    assert [(each["name"], each["sessions"]) for each in sources["channels"]] == [("Direct", 3)]
    assert [each["name"] for each in sources["new_and_returning"]] == ["later sessions"]
    assert sources["conversions"] == []


@pytest.mark.usefixtures("stored")
def test_since_a_duration_counts_back_from_now(run_script: RunScript) -> None:
    done = run_script("summary.py", "--since", "90m")
    assert done.returncode == 0
    assert done.stdout.startswith("No event happened since ")
    assert done.stdout.endswith("the newest happened at 2025-06-02 10:46:20 UTC.\n")


@pytest.mark.usefixtures("stored")
def test_the_report_is_written_as_html(run_script: RunScript, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run_script("summary.py", "--html", str(page))
    assert (done.returncode, done.stdout) == (0, f"The report was written to {page}.\n")
    document = page.read_text(encoding="utf-8")
    assert document.startswith("<!DOCTYPE html>")
    assert "[bold]&lt;script&gt;" in document
    refused = run_script("summary.py", "--html", str(tmp_path / "none" / "report.html"))
    assert refused.returncode == 1
    assert "No such file or directory; check --html" in refused.stderr


# == One session, one visitor, another timeout ==================================================


@pytest.mark.usefixtures("stored")
def test_a_session_shows_why_it_began_and_ended(run_script: RunScript, query: Query) -> None:
    found = [as_json(run_script, "--session", each) for (each,) in query(SESSIONS, ("buyer",))]
    assert [each["began"] for each in found] == [
        "first event of the visitor",
        "after end event logout",
        "start event login",
        "gap of 42 min > 30 min",
    ]
    first, second, third, last = (each["ended"] for each in found)
    another = "; the visitor's next event begins another session: "
    assert first.startswith("end event logout, closed at ")
    assert first.endswith(f" UTC{another}after end event logout")
    assert second == f"still open{another}start event login"
    assert third == f"still open{another}gap of 42 min > 30 min"
    assert last == "still open"
    assert [step["event_type"] for step in found[0]["events"]] == [
        each["event_type"] for each in EVENTS[:6]
    ]
    assert found[0]["metrics"]["total_revenue"] == "6.0000"


def test_a_gap_barely_above_the_timeout_is_shown_exactly(
    batches: Batches, run_script: RunScript, query: Query
) -> None:
    batches.store([[event("a", 0), event("a", 1800.000001)]])
    query("UPDATE session_metrics SET closed_at = now(), close_reason = 'timeout'")
    (first,), (second,) = query(SESSIONS, ("a",))
    assert as_json(run_script, "--session", second)["began"] == "gap of 1800.000001 s > 30 min"
    ended = as_json(run_script, "--session", first)["ended"]
    assert ended.startswith("timeout: no event within 30 min, closed at ")


@pytest.mark.usefixtures("stored")
def test_a_session_is_printed_without_escape_sequences_of_a_visitor(
    run_script: RunScript, query: Query
) -> None:
    ((session_id,),) = query(SESSIONS, ("hostile",))
    done = run_script("summary.py", "--session", session_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Session {session_id}\n")
    assert "2025-06-02 10:00:00.000" in done.stdout
    assert not set(done.stdout) & set("\x1b\x9b")


@pytest.mark.usefixtures("stored")
def test_the_ids_of_sessions_in_the_report_and_of_a_visitor_can_be_asked_for(
    run_script: RunScript, query: Query
) -> None:
    sessions = [each for (each,) in query(SESSIONS, ("buyer",))]
    report = as_json(run_script)
    assert [each["session_id"] for each in report["latest_orders"]] == sessions[:1]
    assert report["longest_sessions"][0]["session_id"] == sessions[0]
    assert len(report["longest_sessions"]) == 5
    assert f"\n  {sessions[0]}    buyer  " in run_script("summary.py").stdout

    visitor = as_json(run_script, "--visitor", "buyer")
    assert [each["session_id"] for each in visitor["latest_sessions"]] == sessions[::-1]
    assert (visitor["sessions"], visitor["events"], visitor["orders"]) == (4, 9, 1)
    shown = run_script("summary.py", "--visitor", "buyer", COLUMNS="40").stdout
    assert re.findall(r"^  ([0-9a-f-]{36})$", shown, re.MULTILINE) == sessions[::-1]
    unknown = run_script("summary.py", "--visitor", "Buyer\x1b")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith(
        'error: there is no visitor "Buyer\ufffd"; give the user_id as'
    )


@pytest.mark.usefixtures("stored")
def test_another_timeout_is_compared_with_the_current_one(run_script: RunScript) -> None:
    found = as_json(run_script, "--what-if-timeout", "59s")
    assert found["current"]["timeout_seconds"] == 1800
    assert found["current"]["sessions"] == 5
    assert found["other"]["timeout_seconds"] == 59
    assert found["other"]["sessions"] == 6  # the gap of 60 s splits, that of 55 s does not
    assert found["other"]["events_mean"] == pytest.approx(10 / 6)
    assert as_json(run_script, "--what-if-timeout", "59.5s")["other"]["timeout_seconds"] == 59.5
    text = run_script("summary.py", "--what-if-timeout", "59s").stdout
    assert "sessions" in text
    assert "+20.0%" in text


# == Errors of a user ===========================================================================


def test_an_empty_database_gets_a_sentence(run_script: RunScript) -> None:
    done = run_script("summary.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "has no events yet" in done.stdout
    assert "consumer.py\n" in done.stdout
    written = run_script("summary.py", "--html", "report.html")
    assert written.stdout == f"{done.stdout}The report was written to report.html.\n"
    assert as_json(run_script)["overview"]["events"] == 0
    assert run_script("summary.py", "--verify").returncode == 0
    nothing = run_script("summary.py", "--what-if-timeout", "1h")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "there are no sessions yet" in nothing.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--verify"], ["--what-if-timeout", "1h"], ["--compare", os.devnull]]
)
def test_a_database_without_tables_gets_a_sentence(
    run_script: RunScript, query: Query, arguments: list[str]
) -> None:
    query("DROP SCHEMA public CASCADE")
    query("CREATE SCHEMA public")
    done = run_script("summary.py", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "create them with: " in done.stderr
    assert done.stderr.endswith("create_schema.py\n")


def test_an_unreachable_server_gets_a_sentence(run_script: RunScript) -> None:
    done = run_script("summary.py", POSTGRES_PORT="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot connect to PostgreSQL" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_session_gets_a_sentence(run_script: RunScript) -> None:
    done = run_script("summary.py", "--session", "00000000-0000-0000-0000-000000000000")
    assert done.returncode == 1
    assert "there is no session 00000000-0000-0000-0000-000000000000" in done.stderr


def test_ctrl_c_ends_a_long_query(start_script: StartScript, query: Query) -> None:
    query("BEGIN")
    query("LOCK TABLE session_metrics IN ACCESS EXCLUSIVE MODE")
    verification = start_script("summary.py", "--verify")
    eventually(lambda: query(WAITING))
    verification.send_signal(signal.SIGINT)
    assert verification.wait() == 130
    assert verification.output == "interrupted\n"
    eventually(lambda: not query(WAITING))


# == Against a truth file =======================================================================


def test_compare_fails_until_the_traffic_is_stored(run_script: RunScript, tmp_path: Path) -> None:
    truth = str(tmp_path / "truth.json")
    made = run_script(
        "producer.py", "--backfill", "1h", "--events", "300", "--seed", "1", "--truth", truth
    )
    assert made.returncode == 0
    before = run_script("summary.py", "--compare", truth)
    assert before.returncode == 1
    assert "differences found" in before.stdout
    assert run_script("consumer.py", "--drain").returncode == 0
    after = run_script("summary.py", "--compare", truth)
    assert (after.returncode, after.stdout) == (0, f"The tables hold exactly what {truth} says.\n")
