"""The consumer's temporary tables: none is older than an hour."""

from datetime import UTC, datetime

import pytest

from clickstream.clients.record_batch import Record
from clickstream.consumer.batch import Batch, ParsedBatch, parse_batch
from clickstream.consumer.database import Database
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.consumer.shares import STORING_THREADS
from clickstream.consumer.storing_connection import TEMPORARY_TABLES_SECONDS
from clickstream.model.reading import NATIVE_READING
from clickstream.settings import Settings
from clickstream.signals import Stop
from tests.services.batches import TOPIC
from tests.services.databases import Query
from tests.services.records import event, key_of, value_of

TEMPORARY_TABLES = """
    SELECT relname::text, oid::bigint FROM pg_class
    WHERE relkind = 'r' AND relpersistence = 't' ORDER BY relname
"""


class Clock:
    """A clock that the test moves, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def batch_of(offset: int) -> ParsedBatch:
    """Return a batch with one event, twice. A batch without duplicates needs no stage_events."""
    content = event("visitor", offset)
    records = [
        Record(TOPIC.name, 0, each, 0, key_of(content), value_of(content))
        for each in (offset, offset + 1)
    ]
    return parse_batch(
        Batch({0: records}, {0: offset + 2}),
        now=datetime.now(UTC),
        reading=NATIVE_READING,
    )


@pytest.mark.parametrize("number", range(STORING_THREADS))
def test_temporary_tables_are_dropped_each_hour_also_while_no_records_come(
    number: int, settings: Settings, query: Query
) -> None:
    """While one exists, PostgreSQL cannot move datfrozenxid beyond its creation."""
    clock = Clock()
    database = Database(settings, Stop(), lambda: datetime.now(UTC), NewUserAgents(), clock)
    assignment = database.acquire(TOPIC, {0: 0}, "a member")
    for offset in (0, 2):  # the second event changes a stored session
        database.store(number, assignment, batch_of(offset))
    created = query(TEMPORARY_TABLES)
    assert [name for name, _ in created] == ["stage_events", "stage_sessions"]

    clock.seconds = TEMPORARY_TABLES_SECONDS - 1
    database.store(number, assignment, batch_of(4))
    assert query(TEMPORARY_TABLES) == created

    clock.seconds = TEMPORARY_TABLES_SECONDS
    database.use_connections([number])
    assert query(TEMPORARY_TABLES) == []

    database.store(number, assignment, batch_of(6))
    again = query(TEMPORARY_TABLES)
    assert [name for name, _ in again] == [name for name, _ in created]
    assert again != created
    assert query("SELECT total_events FROM session_metrics") == [(4,)]
    database.reset()
