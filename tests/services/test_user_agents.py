"""The table user_agents: filled by consumers and by `user-agents refresh`, read by the report."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from random import Random
from typing import Any

from clickstream.clients.postgres import connect
from clickstream.model.user_agents import UserAgentParser
from clickstream.settings import Settings
from clickstream.storage import user_agent_table
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import event, send
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
LONGEST = "\N{WINKING FACE}" * 8192
REFRESH = ("clickstream", "user-agents", "refresh")

STORED = "SELECT user_agent, browser, is_bot FROM user_agents ORDER BY user_agent"
HIDE = "ALTER TABLE user_agents RENAME TO hidden"
SHOW = "ALTER TABLE hidden RENAME TO user_agents"
SESSIONS = "SELECT user_id, os, device_type, is_bot FROM session_user_agents ORDER BY user_id"
# One text parsed by other rules, one missing, and one that no event has.
OUTDATE = """
    UPDATE user_agents SET rules_version = 'old', browser = 'old', bot_reason = 'old'
    WHERE user_agent = %(old)s;
    DELETE FROM user_agents WHERE user_agent = %(missing)s;
    INSERT INTO user_agents (user_agent, rules_version) VALUES ('gone', 'old');
"""


def report(run_script: RunScript) -> tuple[str, Any]:
    """Return the report as text, and its figures of user agents."""
    text = run_script("summary.py")
    figures = run_script("summary.py", "--json")
    assert (text.returncode, figures.returncode) == (0, 0)
    return text.stdout, json.loads(figures.stdout)["user_agents"]


def test_a_consumer_fills_the_table_while_it_runs_and_goes_on_if_it_cannot(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    consumer = start_script("consumer.py", OPENSEARCH_HOST="")
    send(environment, [event("a", 0, user_agent=FIREFOX), event("b", 0), event("c", 0)])
    eventually(lambda: query(STORED) == [(FIREFOX, "Firefox", False)])
    query(HIDE)
    send(environment, [event("d", 0, user_agent=GOOGLEBOT), event("a", 9, user_agent=FIREFOX)])
    consumer.wait_for_output("user agents wait for PostgreSQL")
    send(environment, [event("e", 0, user_agent=LONGEST)])
    eventually(lambda: query("SELECT count(*) FROM clickstream_events") == [(6,)])
    query(SHOW)
    consumer.send_signal(signal.SIGTERM)
    assert consumer.wait() == 0
    assert query(STORED) == [
        (FIREFOX, "Firefox", False),
        (GOOGLEBOT, "Googlebot", True),
        (LONGEST, None, False),
    ]
    assert query(SESSIONS) == [
        ("a", "Linux", "desktop", False),
        ("b", None, None, None),
        ("c", None, None, None),
        ("d", None, None, True),
        ("e", None, None, False),
    ]


def test_a_refresh_adds_missing_texts_parses_old_ones_again_and_deletes_unused_ones(
    batches: Batches, run_script: RunScript, query: Query
) -> None:
    texts = {"firefox": FIREFOX, "safari": SAFARI, "bot": GOOGLEBOT}
    batches.store([[event(name, 0, user_agent=text) for name, text in texts.items()], []])
    for expected in ("3 added, 0 parsed again, 0 deleted", "1 added, 1 parsed again, 1 deleted"):
        done = run_script(*REFRESH)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"User agents: {expected}")
        assert query(STORED) == [
            (FIREFOX, "Firefox", False),
            (GOOGLEBOT, "Googlebot", True),
            (SAFARI, "Mobile Safari", False),
        ]
        assert query("SELECT DISTINCT rules_version <> 'old' FROM user_agents") == [(True,)]
        query(OUTDATE, {"old": FIREFOX, "missing": SAFARI})


def test_the_report_shows_sessions_with_and_without_bots_and_how_to_parse_the_rest(
    batches: Batches, run_script: RunScript
) -> None:
    bot = [event("bot", n, page_url=f"/{n}", user_agent=GOOGLEBOT) for n in range(3)]
    order = event("buyer", 1, "purchase", price=9.5, order_id="o", user_agent=SAFARI)
    batches.store([[*bot, event("reader", 0, user_agent=FIREFOX), order, event("app", 0)], []])
    text, figures = report(run_script)
    assert figures["unparsed_sessions"] == 3
    assert "the user agents of 3 sessions are not parsed" in text
    assert "user-agents refresh" in text

    assert run_script(*REFRESH).returncode == 0
    text, figures = report(run_script)
    assert figures["unparsed_sessions"] == 0
    assert "user-agents refresh" not in text
    totals = {"orders": 1, "revenue": "9.5000"}
    assert figures["all_sessions"] == {"sessions": 4, "events": 6, "bounce_rate": 0.5, **totals}
    assert figures["without_bots"] == {"sessions": 3, "events": 3, "bounce_rate": 2 / 3, **totals}
    names = ("bots", "browsers", "operating_systems", "device_types")
    assert [{(each["name"], each["sessions"]) for each in figures[name]} for name in names] == [
        {("Googlebot (crawler-user-agents)", 1)},
        {("Firefox", 1), ("Mobile Safari", 1)},
        {("Linux", 1), ("iOS", 1)},
        {("desktop", 1), ("mobile", 1)},
    ]
    titles = ["Bots", "Top bots", "Browsers", "Operating systems", "Device types"]
    assert [title for title in titles if f"\n{title}\n" in text] == titles


def test_consumers_that_store_the_same_texts_at_once_store_each_once(
    settings: Settings, query: Query
) -> None:
    parser = UserAgentParser()
    texts = [f"Browser/{n}" for n in range(2_000)]

    def store_all(seed: int) -> None:
        shuffled = Random(seed).sample(texts, len(texts))
        with closing(connect(settings, application="test")) as connection:
            for start in range(0, len(texts), 100):
                parsed = {text: parser.parse(text) for text in shuffled[start : start + 100]}
                with connection, connection.cursor() as cursor:
                    user_agent_table.insert(cursor, parsed, "1")

    with ThreadPoolExecutor(3) as executor:
        assert list(executor.map(store_all, range(3))) == [None] * 3
    assert query("SELECT count(*), count(DISTINCT user_agent) FROM user_agents") == [(2_000, 2_000)]
