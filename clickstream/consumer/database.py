"""A consumer's access to PostgreSQL: acquiring partitions and storing batches."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from clickstream.clients.addresses import postgres_address
from clickstream.clients.postgres import Cursor
from clickstream.consumer import transaction
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch, ParsedBatch, parse_batch
from clickstream.consumer.clock_watch import ClockWatch
from clickstream.consumer.counters import Counters
from clickstream.consumer.key_watch import KeyWatch
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.consumer.postgres_watch import PostgresWatch
from clickstream.consumer.session_cache import SessionCache
from clickstream.consumer.shares import STORING_THREADS, divide
from clickstream.consumer.storing_connection import StoringConnection
from clickstream.reading_settings import reading_of
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage import positions, schema_version, stored_reading, stored_rule
from clickstream.storage.positions import (
    OwnedPartition,
    Owner,
    PartitionProgress,
    TopicIdentity,
)


@dataclass(frozen=True, slots=True)
class Watches:
    """Observers of batches and PostgreSQL: for warnings, each given once, and new user agents."""

    postgres: PostgresWatch
    user_agents: NewUserAgents
    clock: ClockWatch = field(default_factory=ClockWatch)
    keys: KeyWatch = field(default_factory=KeyWatch)


class Database:
    """A connection for each storing thread, with the session cache and the counters.

    stop: after a request to stop, no command waits for a PostgreSQL that does not answer.
    new_user_agents: gets the user agents of stored events.
    now: returns the current time in UTC. clock: returns seconds; it never goes back.
    storing.py says which thread may do what.
    After an exception the cache may be ahead of the tables: call `reset`.
    """

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        now: Callable[[], datetime],
        new_user_agents: NewUserAgents,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.cache = SessionCache(stored_rule.rule_of(settings))
        self.counters = Counters()
        self._watches = Watches(PostgresWatch(postgres_address(settings), stop), new_user_agents)
        self._reading = reading_of(settings)
        self._group = settings.kafka_group_id
        self._now = now
        self._connections = [StoringConnection(settings, clock) for _ in range(STORING_THREADS)]

    def acquire(
        self,
        topic: TopicIdentity,
        beginning_offsets: dict[int, int],
        member_id: str,
        before: Assignment | None = None,
    ) -> Assignment:
        """Acquire new epochs of partitions; drop the cache, unless all of it is still valid.

        beginning_offsets: the earliest offset that Kafka has of each partition. member_id: the
        consumer's id in its group. before: the assignment that the cache belongs to; None if there
        is none.
        Raises UserError if the tables are of another version, if the stored sessions follow another
        rule, if records are read in another way, or if a consumer of another topic or group works
        on this database; OtherClusterError if one of another Kafka cluster does; FencedError if
        another consumer or a command changed sessions before all partitions were acquired.
        """
        with self.transaction() as cursor:
            # A later upgrade changes the version of the rule, which each batch compares.
            schema_version.require(cursor)
            version = stored_rule.adopt(cursor, self.cache.rule)
        owned = self._acquire_shares(topic, beginning_offsets, member_id)
        assignment = Assignment(topic, owned, version, self._backends())
        with self.transaction() as cursor:
            # A command may have changed sessions between the acquisitions.
            others_write = transaction.check_assignment(cursor, assignment, owned)
            # From now on, a change of the reading fences these epochs.
            stored_reading.adopt(cursor, self._reading)
        if not _is_cache_valid(assignment, before, is_only_owner=not others_write):
            self.cache.clear()
        return assignment

    def _acquire_shares(
        self, topic: TopicIdentity, beginning_offsets: Mapping[int, int], member_id: str
    ) -> dict[int, OwnedPartition]:
        """Acquire each partition with the connection of the thread that stores it.

        Raises UserError, also without partitions, if a consumer of another topic works here.
        """
        connections = [each.get() for each in self._connections]
        name = f"{socket.gethostname()}, process {os.getpid()}"
        owner = Owner(name, self._group, member_id, self._backends())
        owned: dict[int, OwnedPartition] = {}
        for connection, share in zip(connections, divide(beginning_offsets), strict=True):
            beginnings = {partition: beginning_offsets[partition] for partition in share}
            with self._watches.postgres.watching(connection):
                owned |= positions.acquire(connection, topic, owner, beginnings)
        return owned

    def _backends(self) -> list[int]:
        return [each.backend for each in self._connections]

    def release(self) -> None:
        """Store that this consumer leaves its group by itself."""
        if any(self._backends()):
            with self.transaction() as cursor:
                positions.release(cursor, self._backends())

    def parse(self, batch: Batch, pause: Callable[[], object]) -> ParsedBatch:
        """Parse a batch; any thread may do so at any time. pause: see `parse_batch`."""
        return parse_batch(batch, now=self._now(), reading=self._reading, pause=pause)

    def store(
        self, number: int, assignment: Assignment, parsed: ParsedBatch
    ) -> dict[int, PartitionProgress]:
        """Store a batch, and return the progress of each of its partitions.

        number: number of the storing thread, from 0.
        Raises FencedError if another consumer took over.
        """
        connection = self._connections[number].get()
        with self._watches.postgres.watching(connection):
            return transaction.store(
                connection,
                assignment,
                parsed,
                self.cache,
                now=self._now(),
                on_conflict=self._watches.keys.observe_conflict,
                on_stored=self._add_user_agents,
            )

    def count(self, progress: Mapping[int, PartitionProgress]) -> None:
        """Add the progress of a batch that was stored to the counters."""
        self.counters.add(progress)
        self._watches.clock.observe(progress.values(), self._now())

    def _add_user_agents(self, stored: ParsedBatch) -> None:
        self._watches.user_agents.add(event.user_agent for event in stored.events())

    @contextmanager
    def transaction(self, number: int = 0) -> Iterator[Cursor]:
        """Run the block in a transaction, on the connection of the storing thread with a number."""
        connection = self._connections[number].get()
        with (
            self._watches.postgres.watching(connection),
            connection,
            connection.cursor() as cursor,
        ):
            yield cursor

    def use_connections(self, numbers: Iterable[int]) -> None:
        """Run a statement on the connections of storing threads; call it every few seconds.

        PostgreSQL could end an idle connection, and `get` drops temporary tables.
        numbers: of threads that store nothing.
        Raises psycopg2.OperationalError if a connection has ended.
        """
        for number in numbers:
            with self.transaction(number) as cursor:
                cursor.execute("SELECT 1")

    def reset(self) -> None:
        """Drop the cache and the connections; the next use begins with what is stored."""
        self.cache.clear()
        for connection in self._connections:
            connection.close()


def _is_cache_valid(
    assignment: Assignment, before: Assignment | None, *, is_only_owner: bool
) -> bool:
    """Return True if nobody else can have changed what the cache has of an earlier assignment.

    One of several owners notices a change when it writes. The only owner does not compare the
    session before a new one: see storage/session_table.py.
    """
    if before is None or not assignment.keeps(before):
        return False
    return not (is_only_owner and assignment.takes_over(before))
