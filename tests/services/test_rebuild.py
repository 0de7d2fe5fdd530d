"""Rebuilding sessions: by another rule, as a repair, and while a consumer runs."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from clickstream.admin.rebuild_sessions import rebuild
from clickstream.clients.postgres import Connection, connect
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage.positions import FencedError
from clickstream.storage.stored_rule import rule_of
from clickstream.verify.stored_sessions import verify_sessions
from tests.services import oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import (
    RECORDS_READ,
    event,
    random_events,
    send_by_visitor,
    wait_until_read,
)
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

RULE = Rule(timedelta(minutes=30), frozenset(), frozenset({"logout"}))
OTHER = Rule(timedelta(minutes=5), frozenset({"login"}), frozenset())
OTHER_SETTINGS = {
    "SESSION_TIMEOUT_SECONDS": "300",
    "SESSION_START_EVENTS": "login",
    "SESSION_END_EVENTS": "",
}

STATUSES = "SELECT user_id, close_reason, closed_at FROM session_metrics ORDER BY user_id"
CHANGED_VISITORS = "SELECT DISTINCT user_id FROM session_changes ORDER BY user_id"
INSERT_CHECKPOINT = """
    INSERT INTO search_cursor (horizon, token, system_identifier)
    VALUES (pg_current_xact_id(), 'a token', 'a system')
"""


@pytest.fixture
def transactions(settings: Settings) -> Iterator[Connection]:
    """A connection to the test's database, not in autocommit."""
    with closing(connect(settings, application="test")) as opened:
        yield opened


def check(connection: Connection, rule: Rule) -> None:
    """Assert that the sessions follow the rule, by the oracle and by `summary.py --verify`."""
    oracle.check_sessions(
        connection,
        timeout=rule.timeout.total_seconds(),
        starts=rule.start_events,
        ends=rule.end_events,
    )
    assert verify_sessions(connection).differences.first == []


def test_a_rebuild_by_another_rule_and_back_is_exact(
    transactions: Connection, query: Query
) -> None:
    Batches(transactions, RULE).store([random_events(1_000, 20, seed=3)])
    ((sessions,),) = query("SELECT count(*) FROM session_metrics")
    rebuilt = rebuild(transactions, OTHER)
    check(transactions, OTHER)
    assert rebuilt.deleted + rebuilt.unchanged == sessions
    assert query("SELECT count(*) FROM session_metrics") == [(rebuilt.written + rebuilt.unchanged,)]
    assert min(rebuilt.deleted, rebuilt.written) > 0
    rebuild(transactions, RULE)
    check(transactions, RULE)
    assert query("SELECT count(*), max(timeout_seconds), max(version) FROM session_rule") == [
        (1, 1800, 3)
    ]


def test_a_rebuild_writes_no_session_that_is_correct(
    transactions: Connection, query: Query
) -> None:
    Batches(transactions, RULE).store([random_events(500, 20, seed=4)])
    rows = "SELECT xmin::text, session_id FROM session_metrics ORDER BY session_id"
    before = query(rows)
    rebuilt = rebuild(transactions, RULE)
    assert (rebuilt.unchanged, rebuilt.deleted, rebuilt.written) == (len(before), 0, 0)
    assert query(rows) == before


def test_a_rebuild_writes_and_logs_only_the_sessions_that_were_wrong(
    transactions: Connection, query: Query
) -> None:
    visitors = ["deleted", "right", "wrong", "wrong id"]
    Batches(transactions, RULE).store([[event(name, 0, page_url="/") for name in visitors]])
    query("UPDATE session_metrics SET total_events = 7 WHERE user_id = 'wrong'")
    query("UPDATE session_metrics SET session_id = gen_random_uuid() WHERE user_id = 'wrong id'")
    query("DELETE FROM session_metrics WHERE user_id = 'deleted'")
    query(INSERT_CHECKPOINT)
    rebuilt = rebuild(transactions, RULE)
    assert (rebuilt.unchanged, rebuilt.deleted, rebuilt.written) == (1, 2, 3)
    assert query(CHANGED_VISITORS) == [("deleted",), ("wrong",), ("wrong id",)]
    check(transactions, RULE)


def test_a_rebuild_logs_no_changes_without_a_search_index(
    transactions: Connection, query: Query
) -> None:
    Batches(transactions, RULE).store([random_events(200, 20, seed=5)])
    assert rebuild(transactions, OTHER).written > 0
    assert query(CHANGED_VISITORS) == []


def test_a_session_with_the_same_end_keeps_its_status(
    transactions: Connection, query: Query
) -> None:
    Batches(transactions, RULE).store(
        [
            [
                event("open", 0),
                event("timed out", 0),
                event("logged out", 0, "logout"),
                event("split", 0),
                event("split", 600),
            ]
        ]
    )
    query(
        "UPDATE session_metrics SET closed_at = '2025-06-02 11:00 UTC', close_reason = 'timeout' "
        "WHERE user_id IN ('timed out', 'split')"
    )
    rebuild(transactions, replace(RULE, timeout=timedelta(minutes=5)))
    found = [(user, reason) for user, reason, _ in query(STATUSES)]
    assert found == [
        ("logged out", "end_event"),
        ("open", None),
        ("split", None),
        ("split", None),
        ("timed out", "timeout"),
    ]
    rebuild(transactions, OTHER)
    assert query(STATUSES)[0] == ("logged out", None, None)
    assert [str(closed) for *_, closed in query(STATUSES)][-1] == "2025-06-02 11:00:00+00:00"


def test_a_consumer_is_fenced_after_a_rebuild(transactions: Connection) -> None:
    batches = Batches(transactions, RULE)
    batches.store([[event("a", 0)]])
    rebuild(transactions, RULE)
    with pytest.raises(FencedError):
        batches.store([[event("a", 60)]])


def test_a_consumer_refuses_another_rule_until_the_sessions_are_rebuilt(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send_by_visitor(environment, random_events(500, 10, seed=6))
    assert run_script("consumer.py", "--drain").returncode == 0
    refused = run_script("consumer.py", "--drain", **OTHER_SETTINGS)
    assert refused.returncode == 1
    assert "create_schema.py --rebuild-sessions" in refused.stderr
    rebuilt = run_script("create_schema.py", "--rebuild-sessions", **OTHER_SETTINGS)
    assert rebuilt.returncode == 0
    assert "All sessions follow a timeout of 300 s, start events login: " in rebuilt.stdout
    send_by_visitor(environment, random_events(500, 10, seed=7))
    assert run_script("consumer.py", "--drain", **OTHER_SETTINGS).returncode == 0
    oracle.check({**environment, **OTHER_SETTINGS})


def _has_read_more_than(query: Query, number: int) -> bool:
    return bool(query(RECORDS_READ)[0][0] > number)


def test_rebuilds_while_a_consumer_runs_are_exact(
    environment: dict[str, str],
    transactions: Connection,
    query: Query,
    start_script: StartScript,
) -> None:
    """A rebuild waits for the batch that is being stored; then the consumer drops its cache."""
    consumer = start_script("consumer.py", CONSUMER_BATCH_EVENTS="100")
    sent = 0
    for seed in range(3):
        events = random_events(1_000, 30, seed=seed + 10)
        send_by_visitor(environment, events)
        before, sent = sent, sent + len(events)
        eventually(partial(_has_read_more_than, query, before))
        rebuild(transactions, rule_of(Settings.from_mapping(environment)))
    wait_until_read(query, sent)
    assert consumer.is_running
    oracle.check(environment)
