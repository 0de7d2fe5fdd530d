"""The session cache when a consumer acquires its partitions again."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from clickstream.clients.postgres import Connection, connect
from clickstream.clients.record_batch import Record
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch, parse_batch
from clickstream.consumer.database import Database
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.model.reading import NATIVE_READING
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage import positions, write_lock
from clickstream.storage.positions import IncreasedEpochsError
from tests.services.batches import DEFAULT_RULE, TOPIC, Batches, owner_on
from tests.services.databases import Query
from tests.services.oracle import check_sessions
from tests.services.records import event, key_of, value_of


def store(
    database: Database, assignment: Assignment, offset: int, seconds: float = 0
) -> Assignment:
    """Store the visitor's event at a time, and return the assignment after it."""
    content = event("visitor", seconds + offset)
    record = Record(TOPIC.name, 0, offset, 0, key_of(content), value_of(content))
    batch = Batch({0: [record]}, {**assignment.positions, 0: offset + 1})
    parsed = parse_batch(batch, now=datetime.now(UTC), reading=NATIVE_READING)
    return assignment.advance(database.store(0, assignment, parsed))


def test_the_cache_is_kept_only_while_nobody_else_can_have_changed_its_sessions(
    settings: Settings, query: Query
) -> None:
    database = Database(settings, Stop(), lambda: datetime.now(UTC), NewUserAgents())
    assignment = store(database, database.acquire(TOPIC, {0: 0}, "a member"), 0)
    assignment = database.acquire(TOPIC, {0: 0, 1: 0}, "a member", assignment)
    assert len(database.cache) == 1, "a partition more changes no session"
    assignment = store(database, assignment, 1)
    with closing(connect(settings, application="another consumer")) as other:
        owner = owner_on(other, group=settings.kafka_group_id)
        positions.acquire(other, TOPIC, owner, {0: 0})
        assignment = database.acquire(TOPIC, {0: 0, 1: 0}, "a member", assignment)
        assert len(database.cache) == 0, "another consumer had the partition meanwhile"
        assignment = store(database, assignment, 2)
        with other, other.cursor() as cursor:
            write_lock.exclude_consumers(cursor)
    assignment = database.acquire(TOPIC, {0: 0, 1: 0}, "a member", assignment)
    assert len(database.cache) == 0, "a command may have changed sessions"
    store(database, assignment, 3)
    assert query("SELECT total_events FROM session_metrics") == [(4,)]
    database.reset()


def test_a_command_that_changes_sessions_while_partitions_are_acquired_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection acquires its partitions in a transaction of its own."""
    database = Database(settings, Stop(), lambda: datetime.now(UTC), NewUserAgents())
    assignment = store(database, database.acquire(TOPIC, {0: 0}, "a member"), 0)
    acquire = positions.acquire

    def acquire_and_change(*arguments: Any) -> Any:
        owned = acquire(*arguments)
        with database.transaction() as cursor:
            write_lock.exclude_consumers(cursor)
        return owned

    monkeypatch.setattr(positions, "acquire", acquire_and_change)
    with pytest.raises(IncreasedEpochsError):
        database.acquire(TOPIC, {0: 0, 1: 0}, "a member", assignment)
    database.reset()


def test_the_only_owner_keeps_no_session_that_an_earlier_owner_may_have_changed(
    settings: Settings, transactions: Connection
) -> None:
    """It does not compare the session before a new one, as one of several owners does."""
    settings = replace(settings, kafka_group_id="a-group")
    database = Database(settings, Stop(), lambda: datetime.now(UTC), NewUserAgents())
    other = Batches(transactions, DEFAULT_RULE, [1])
    assignment = store(database, database.acquire(TOPIC, {0: 0}, "a member"), 0)
    other.store([[event("visitor", 7_200)]])
    assignment = database.acquire(TOPIC, {0: 0, 1: 0}, "a member", assignment)
    assert len(database.cache) == 0
    store(database, assignment, 1, seconds=7_300)
    check_sessions(transactions, timeout=1_800)
    database.reset()
