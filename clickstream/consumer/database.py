"""A consumer's access to PostgreSQL: acquiring partitions and storing batches."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from clickstream.clients.addresses import postgres_address
from clickstream.clients.postgres import Connection, Cursor, connect
from clickstream.consumer import transaction
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch, ParsedBatch, parse_batch
from clickstream.consumer.clock_watch import ClockWatch
from clickstream.consumer.counters import Counters
from clickstream.consumer.interval import Interval
from clickstream.consumer.key_watch import KeyWatch
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.consumer.postgres_watch import PostgresWatch
from clickstream.consumer.session_cache import SessionCache
from clickstream.reading_settings import reading_of
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage import positions, schema_version, stored_reading, stored_rule
from clickstream.storage.positions import TopicIdentity

APPLICATION = "clickstream consumer"
# A consumer that is frozen in a transaction loses its locks after this time, unless the next owner
# of its partitions has ended its backend before. A batch joins its rows with large tables by their
# keys: a hash join or a merge join would read the whole table.
PREPARE = """
    SET idle_in_transaction_session_timeout = '60s';
    SET cursor_tuple_fraction = 1;
    SET enable_hashjoin = off; SET enable_mergejoin = off
"""
# The temporary tables that batches use are dropped this often. While they exist, PostgreSQL cannot
# move datfrozenxid of the database beyond their creation: after months it would refuse to write.
TEMPORARY_TABLES_SECONDS = 3600.0
DISCARD_TEMPORARY_TABLES = "DISCARD TEMP"


@dataclass(frozen=True, slots=True)
class Watches:
    """Observers of batches and PostgreSQL: for warnings, each given once, and new user agents."""

    postgres: PostgresWatch
    user_agents: NewUserAgents
    clock: ClockWatch = field(default_factory=ClockWatch)
    keys: KeyWatch = field(default_factory=KeyWatch)


class Database:
    """A connection that is opened at its first use, with the session cache and the counters.

    stop: after a request to stop, a PostgreSQL that does not answer is not waited for.
    new_user_agents: gets the user agents of stored events.
    now: returns the current time in UTC. clock: returns seconds; it never goes back.
    storing.py says which thread owns a Database.
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
        self._settings = settings
        self._now = now
        self._connection: Connection | None = None
        self._temporary_tables = Interval(TEMPORARY_TABLES_SECONDS, clock)

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
        on this database; OtherClusterError if one of another Kafka cluster does.
        """
        with self.transaction() as cursor:
            # A later upgrade changes the version of the rule, which each batch compares.
            schema_version.require(cursor)
            version = stored_rule.adopt(cursor, self.cache.rule)
        group = self._settings.kafka_group_id
        owner = f"{socket.gethostname()}, process {os.getpid()}"
        connection = self._connect()
        with self._watches.postgres.watching(connection):
            owned = positions.acquire(
                connection, topic, group, owner, beginning_offsets, member_id=member_id
            )
        with self.transaction() as cursor:
            # After `acquire`: from then on, a change of the reading fences these epochs.
            stored_reading.adopt(cursor, self._reading)
            is_only_owner = not positions.has_other_owners(cursor, topic.name, owned)
        assignment = Assignment(topic, owned, version)
        if not _is_cache_valid(assignment, before, is_only_owner):
            self.cache.clear()
        return assignment

    def release(self) -> None:
        """Store that this consumer leaves its group by itself."""
        if self._connection is not None:
            with self.transaction() as cursor:
                positions.release(cursor)

    def parse(self, batch: Batch, pause: Callable[[], object]) -> ParsedBatch:
        """Parse a batch; any thread may do so at any time. pause: see `parse_batch`."""
        return parse_batch(batch, now=self._now(), reading=self._reading, pause=pause)

    def store(self, assignment: Assignment, parsed: ParsedBatch) -> Assignment:
        """Store a batch, and return the assignment after it.

        Raises FencedError if another consumer took over.
        """
        now = self._now()
        connection = self._connect()
        with self._watches.postgres.watching(connection):
            progress = transaction.store(
                connection,
                assignment,
                parsed,
                self.cache,
                now=now,
                on_conflict=self._watches.keys.observe_conflict,
                on_stored=self._add_user_agents,
            )
        self.counters.add(progress)
        self._watches.clock.observe(progress.values(), now)
        return assignment.advance(progress)

    def _add_user_agents(self, stored: ParsedBatch) -> None:
        self._watches.user_agents.add(event.user_agent for event in stored.events())

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Run the block in a transaction."""
        connection = self._connect()
        with (
            self._watches.postgres.watching(connection),
            connection,
            connection.cursor() as cursor,
        ):
            yield cursor

    def reset(self) -> None:
        """Drop the cache and the connection; the next use begins with what is stored."""
        self.cache.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Connection:
        if self._connection is None:
            connection = connect(self._settings, application=APPLICATION)
            with connection, connection.cursor() as cursor:
                cursor.execute(PREPARE)
            self._connection = connection
            self._temporary_tables.restart()
        elif self._temporary_tables.is_over:
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(DISCARD_TEMPORARY_TABLES)
            self._temporary_tables.restart()
        return self._connection


def _is_cache_valid(assignment: Assignment, before: Assignment | None, is_only_owner: bool) -> bool:
    """Return True if nobody else can have changed what the cache has of an earlier assignment.

    One of several owners notices a change when it writes. The only owner does not compare the
    session before a new one: see storage/session_table.py.
    """
    if before is None or not assignment.keeps(before):
        return False
    return not (is_only_owner and assignment.takes_over(before))
