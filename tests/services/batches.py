"""Batches stored in the test's own process, on a real database and without Kafka."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from clickstream.clients.postgres import Connection
from clickstream.clients.record_batch import Record
from clickstream.consumer import transaction
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch, ParsedBatch, parse_batch
from clickstream.consumer.session_cache import SessionCache
from clickstream.model.reading import Reading
from clickstream.model.sessions import Rule
from clickstream.storage import positions, stored_rule
from clickstream.storage.positions import Owner, PartitionProgress, TopicIdentity
from tests.services.records import key_of, value_of

# Times that MIN_EVENT_TIME rejects are stored too.
ALL_TIMES = Reading(min_event_time=datetime.min.replace(tzinfo=UTC))
# The session rule without settings.
DEFAULT_RULE = Rule(timedelta(minutes=30), frozenset(), frozenset())
TOPIC = TopicIdentity("a-topic", "a-topic-id")
EMPTY_TABLES = """
    TRUNCATE clickstream_events, session_metrics, rejected_events, stream_positions, session_rule,
             event_retention
"""


def owner_on(
    connection: Connection,
    name: str = "a test",
    group: str = "a-group",
    member_id: str | None = None,
) -> Owner:
    """Return a consumer whose only connection is this one."""
    return Owner(name, group, member_id, [connection.info.backend_pid])


class Batches:
    """One consumer, which starts with empty tables.

    connection: not in autocommit. partitions: those that it owns.
    """

    def __init__(
        self, connection: Connection, rule: Rule, partitions: Sequence[int] = (0, 1)
    ) -> None:
        self.cache = SessionCache(rule)
        self.reading = ALL_TIMES
        self.conflicts: list[ParsedBatch] = []
        self._connection = connection
        self._offsets = dict.fromkeys(partitions, 0)
        with connection, connection.cursor() as cursor:
            cursor.execute(EMPTY_TABLES)
        self.acquire()

    def acquire(self) -> None:
        """Acquire the partitions with an empty cache, as a consumer does when it starts."""
        self.cache.clear()
        with self._connection, self._connection.cursor() as cursor:
            version = stored_rule.adopt(cursor, self.cache.rule)
        beginnings = dict.fromkeys(self._offsets, 0)
        owned = positions.acquire(self._connection, TOPIC, owner_on(self._connection), beginnings)
        self._assignment = Assignment(TOPIC, owned, version, owner_on(self._connection).backends)

    def store(
        self, contents: Sequence[Iterable[Any]], now: datetime | None = None
    ) -> list[PartitionProgress]:
        """Store a batch. contents: events, bytes or None, by partition."""
        return self.deliver(self.make_records(contents), now)

    def make_records(self, contents: Sequence[Iterable[Any]]) -> dict[int, list[Record]]:
        """Return records with the next offsets. contents: events, bytes or None, by partition."""
        shares = zip(self._offsets, contents, strict=False)
        return {partition: self._records(partition, share) for partition, share in shares}

    def deliver(
        self, records: dict[int, list[Record]], now: datetime | None = None
    ) -> list[PartitionProgress]:
        """Store a batch of records, which may have been delivered before."""
        now = now or datetime.now(UTC)
        positions_after = dict(self._offsets)
        progress = transaction.store(
            self._connection,
            self._assignment,
            parse_batch(Batch(records, positions_after), now=now, reading=self.reading),
            self.cache,
            now=now,
            on_conflict=self.conflicts.append,
            on_stored=lambda _: None,
        )
        self._assignment = self._assignment.advance(progress)
        return list(progress.values())

    def _records(self, partition: int, contents: Iterable[Any]) -> list[Record]:
        made = []
        for content in contents:
            offset = self._offsets[partition]
            self._offsets[partition] += 1
            made.append(
                Record(TOPIC.name, partition, offset, 0, key_of(content), value_of(content))
            )
        return made
