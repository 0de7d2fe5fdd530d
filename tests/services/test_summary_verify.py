"""The session rule in SQL equals the oracle, and --verify finds every wrong session."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from random import Random
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from psycopg2.extras import RealDictCursor

from clickstream.clients.postgres import Connection, connect
from clickstream.model.sessions import SESSION_COLUMNS, Rule
from clickstream.settings import Settings
from clickstream.storage import session_rule
from clickstream.verify.differences import Differences
from clickstream.verify.stored_sessions import SessionVerification, verify_sessions
from tests.services import oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import event, random_event, random_events
from tests.services.scripts import RunScript

TIMEOUT = 30
# Gaps of exactly the timeout, and one microsecond more.
GRID = [*range(0, 160, 10), TIMEOUT + 0.000001, 2 * TIMEOUT + 0.000001]
KINDS = (
    *("page_view", "click", "scroll", "hover", "add_to_cart", "remove_from_cart"),
    *("search", "login", "logout", "purchase", "Ä"),
)
EVENTS = st.builds(
    lambda kind, visitor, seconds, number, seed: {
        **random_event(visitor, seconds, Random(seed), event_id=str(UUID(int=number))),
        "event_type": kind,
    },
    st.sampled_from([*KINDS, "purchase", "purchase"]),
    st.sampled_from(["a", "B", "ä"]),
    st.sampled_from(GRID),
    st.integers(1, 12),
    st.integers(0, 400),
)
TYPES = st.frozensets(st.sampled_from(["login", "logout", "page_view"]), max_size=2)
RULES = st.builds(
    Rule, st.sampled_from([10, TIMEOUT, 60]).map(lambda s: timedelta(seconds=s)), TYPES, TYPES
)
PLAIN = Rule(timedelta(seconds=TIMEOUT), frozenset(), frozenset())

RECOMPUTED = """
    SELECT *, host(ip_address) AS ip_address FROM recomputed
    ORDER BY user_id, first_event_timestamp, first_event_id
"""
STORED = """
    SELECT *, host(ip_address) AS ip_address FROM stored
    ORDER BY user_id, first_event_timestamp, first_event_id
"""
# One session with more values of everything than are shown or counted.
CRAWLER = """
    INSERT INTO clickstream_events
        (event_id, event_time, event_type, user_id, page_url, referrer, product_id, order_id)
    SELECT gen_random_uuid(), timestamptz '2025-06-02 10:00:00 UTC' + n * interval '1 ms',
           CASE n %% 3 WHEN 0 THEN 'click' WHEN 1 THEN 'purchase' ELSE 't' || n %% 4000 END,
           'crawler', '/' || n %% 11000, 'https://' || n %% 1001, 'p' || n, 'o' || n
    FROM generate_series(1, %(events)s) AS n
"""
_REST = ", ".join(SESSION_COLUMNS[2:])
ADD_SESSION_OF_NOBODY = f"""
    INSERT INTO session_metrics (session_id, user_id, {_REST})
    SELECT gen_random_uuid(), 'nobody', {_REST} FROM session_metrics WHERE closed_at IS NULL LIMIT 1
"""


@pytest.fixture
def transactions(settings: Settings) -> Iterator[Connection]:
    """A connection to the test's database, not in autocommit."""
    with closing(connect(settings, application="test")) as opened:
        yield opened


def read(connection: Connection, sql: str, values: Any = None) -> list[dict[str, Any]]:
    with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(sql, values)
        return [dict(row) for row in cursor.fetchall()]


def by_the_rule(connection: Connection, rule: Rule, ending: str) -> list[dict[str, Any]]:
    return read(connection, session_rule.statement(ending), session_rule.parameters(rule))


def by_the_oracle(connection: Connection, rule: Rule) -> list[dict[str, Any]]:
    events = read(connection, oracle.EVENTS)
    found = oracle.sessions(events, rule.timeout, rule.start_events, rule.end_events)
    unsaid = ("session_id", "session_duration_minutes")
    return [{name: row[name] for name in row if name not in unsaid} for row in found]


@examples(max_examples=examples().max_examples // 5)
@given(events=st.lists(EVENTS, max_size=30), rule=RULES)
def test_the_rule_in_sql_equals_the_oracle(
    transactions: Connection, events: list[Any], rule: Rule
) -> None:
    Batches(transactions, PLAIN).store([events])
    assert by_the_rule(transactions, rule, RECOMPUTED) == by_the_oracle(transactions, rule)
    assert by_the_rule(transactions, rule, STORED) == by_the_oracle(transactions, PLAIN)


def test_the_rule_in_sql_limits_the_session_of_a_crawler(
    transactions: Connection, query: Query
) -> None:
    query(CRAWLER, {"events": 33_100})
    found = by_the_rule(transactions, PLAIN, RECOMPUTED)
    assert found == by_the_oracle(transactions, PLAIN)
    assert found[0]["unique_pages_count"] == found[0]["products_viewed_count"] == 10_000
    assert found[0]["unique_referrers_count"] == 1_001
    assert found[0]["orders_count"] == 10_000
    assert len(found[0]["event_type_counts"]) == len(found[0]["referrers"]) == 1_000


@pytest.fixture
def stored(transactions: Connection) -> Connection:
    """Tables with sessions, duplicates and a rejected record, and the connection to them."""
    rule = Rule(timedelta(minutes=30), frozenset(), frozenset({"logout"}))
    purchase = event("buyer", 0, "purchase", price=3, order_id="o", page_url="/", country="NO")
    Batches(transactions, rule).store([[*random_events(300, 10, seed=1), purchase], [b"no JSON"]])
    return transactions


def test_sessions_that_a_consumer_stored_have_no_difference(stored: Connection) -> None:
    found = verify_sessions(stored)
    assert found.differences == Differences(0, [])
    assert found.counts.events == 301
    assert found.counts.sessions > 50
    assert found.counts.records == 332
    assert found.counts.duplicates == 30
    assert found.counts.rejected_events == found.counts.rejected == 1


OF_BUYER = "UPDATE session_metrics SET {} WHERE user_id = 'buyer'"
WRONG_METRICS = {
    "total_events": "total_events + 1",
    "event_type_counts": """'{"purchase": 2}'""",
    "last_event_timestamp": "last_event_timestamp + interval '1 microsecond'",
    "last_event_id": "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    "unique_pages": """'["/", "/x"]'""",
    "unique_pages_count": "2",
    "landing_page": "NULL",
    "exit_page": "'/x'",
    "total_revenue": "3.0001",
    "orders_count": "0",
    "products_viewed": """'["p"]'""",
    "products_viewed_count": "1",
    "search_queries": """'["s"]'""",
    "referrers": """'["r"]'""",
    "unique_referrers_count": "1",
    "user_agent": "'Browser'",
    "ip_address": "'192.0.2.1'",
    "device_type": "'mobile'",
    "country": "'PT'",
    "is_bounce": "true",
    "ended_by_event": "",
}


@pytest.mark.parametrize("column", WRONG_METRICS)
def test_a_wrong_metric_is_found(stored: Connection, query: Query, column: str) -> None:
    change = f"{column} = {WRONG_METRICS[column]}"
    if column == "ended_by_event":
        change = "closed_at = now(), close_reason = 'end_event'"
    query(OF_BUYER.format(change))
    (difference,) = the_differences(verify_sessions(stored))
    assert 'the session of visitor "buyer"' in difference
    assert f": {column} is " in difference


def the_differences(found: SessionVerification) -> list[str]:
    assert found.differences.number == len(found.differences.first)
    return found.differences.first


def test_each_session_is_checked_on_one_of_two_connections(
    stored: Connection, settings: Settings, query: Query
) -> None:
    query("UPDATE session_metrics SET total_events = total_events + 1")
    found = verify_sessions(stored)
    with closing(connect(settings, application="test")) as second:
        assert verify_sessions(stored, second).differences.number == found.differences.number
    assert found.differences.number == found.counts.sessions


def test_closing_by_timeout_is_no_difference(stored: Connection, query: Query) -> None:
    query(OF_BUYER.format("closed_at = now(), close_reason = 'timeout'"))
    assert verify_sessions(stored).differences.number == 0


def test_missing_and_additional_sessions_are_found(stored: Connection, query: Query) -> None:
    query("DELETE FROM session_metrics WHERE user_id = 'buyer'")
    (missing,) = the_differences(verify_sessions(stored))
    assert missing.endswith("is missing")
    query("DELETE FROM clickstream_events WHERE user_id = 'buyer'")
    query("UPDATE stream_positions SET records = records - 1 WHERE partition = 0")
    assert verify_sessions(stored).differences.number == 0
    query(ADD_SESSION_OF_NOBODY)
    wrong_id, additional = the_differences(verify_sessions(stored))
    assert "should have the id" in wrong_id
    assert additional.endswith("is stored, but does not follow from the events by the session rule")


def test_a_wrong_id_is_found(stored: Connection, query: Query) -> None:
    ((right,),) = query("SELECT session_id FROM session_metrics WHERE user_id = 'buyer'")
    query(OF_BUYER.format("session_id = '00000000-0000-0000-0000-000000000000'"))
    (difference,) = the_differences(verify_sessions(stored))
    assert difference == (
        'session 00000000-0000-0000-0000-000000000000 of visitor "buyer" should have the id '
        f"{right}"
    )


def test_counters_that_do_not_add_up_are_found(stored: Connection, query: Query) -> None:
    query("UPDATE stream_positions SET records = records + 1 WHERE partition = 0")
    (difference,) = the_differences(verify_sessions(stored))
    assert difference == (
        "333 records were read, but 301 events, 30 duplicates, 1 rejected and 0 removed records "
        "make 332"
    )
    query("DELETE FROM rejected_events")
    assert verify_sessions(stored).differences.number == 2


def test_sessions_without_a_rule_are_found(stored: Connection, query: Query) -> None:
    query("DELETE FROM session_rule")
    assert the_differences(verify_sessions(stored)) == [
        "session_rule is empty, so the sessions cannot be recomputed"
    ]


def test_verify_is_exact_while_a_consumer_writes(
    transactions: Connection, settings: Settings, query: Query
) -> None:
    """Both connections read one snapshot, and no commit meanwhile changes the result."""
    with (
        closing(connect(settings, application="test")) as other,
        closing(connect(settings, application="test")) as second,
    ):
        batches = Batches(other, PLAIN)
        events = random_events(4_000, 40, seed=2)
        parts = [events[first : first + 50] for first in range(0, len(events), 50)]
        writer = Thread(target=lambda: [batches.store([part]) for part in parts])
        writer.start()
        verified = [verify_sessions(transactions, second)]
        while writer.is_alive():
            verified.append(verify_sessions(transactions, second))
        writer.join()
    assert [found.differences.number for found in verified] == [0] * len(verified)
    assert len({found.counts.events for found in verified}) > 2
    assert query("SELECT count(*) FROM clickstream_events") == [(4_000,)]


@pytest.mark.usefixtures("stored")
def test_the_script_says_what_was_checked(run_script: RunScript) -> None:
    done = run_script("summary.py", "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Verified 301 events, ")
    assert " 332 records in " in done.stdout


@pytest.mark.usefixtures("stored")
def test_the_script_lists_twenty_differences_and_counts_the_rest(
    query: Query, run_script: RunScript
) -> None:
    query("UPDATE session_metrics SET total_events = 1000, user_agent = E'\\x1b[2J'")
    ((sessions,),) = query("SELECT count(*) FROM session_metrics")
    done = run_script("summary.py", "--verify")
    assert done.returncode == 1
    assert done.stdout.count("total_events is 1000, not ") == 20
    assert f"... and {sessions - 20} more\n{sessions} differences found.\n" in done.stdout
    assert "To recompute every session: " in done.stdout
    assert done.stdout.endswith("create_schema.py --rebuild-sessions\n")
    assert "\x1b" not in done.stdout
