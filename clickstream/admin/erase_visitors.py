"""Erasing visitors: their events, sessions and documents, and the rejected records that name them.

The order makes it safe to interrupt and to run again:

1. One short transaction, which keeps the consumers out: store the hash of each visitor, append it
   to the journal, and make the consumers drop their caches. From its commit on, nothing of these
   visitors is stored any more.
2. Delete what is stored, in short steps while consumers run. After each step the sessions
   still follow from the events.
3. The indexer deletes the documents, which the steps have logged by their ids.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from psycopg2 import errors

from clickstream.admin import erasure_journal
from clickstream.admin.erasure_journal import JournalEntry
from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.model.field_names import FieldNames
from clickstream.model.named_visitors import names_any, visitors_of
from clickstream.storage import change_log, erased_visitors, removal, stored_reading, write_lock
from clickstream.storage.erased_visitors import hash_visitor
from clickstream.storage.query_rows import stream_rows
from clickstream.storage.removal import RejectedKey
from clickstream.storage.snapshot import snapshot, snapshot_time

# Limits of one step.
STEP_EVENTS = 10_000
STEP_SESSIONS = 1_000
# Rejected records that are in memory at once, each of up to 1 MiB.
STEP_RECORDS = 100

COUNT_STORED = """
    SELECT count(*), coalesce(sum(total_events), 0)::bigint
    FROM session_metrics WHERE user_id = ANY (%(visitors)s)
"""
# Sessions of about STEP_EVENTS events together, but at least one.
SELECT_NEXT_SESSIONS = """
    SELECT session_id
    FROM (SELECT session_id, sum(total_events) OVER (ORDER BY session_id) - total_events AS before
          FROM (SELECT session_id, total_events FROM session_metrics
                WHERE user_id = ANY (%(visitors)s) LIMIT %(sessions)s) AS next) AS counted
    WHERE before < %(events)s
"""
SELECT_REJECTED = """
    SELECT topic_id, partition, "offset", key, value
    FROM rejected_events
    WHERE (topic_id, partition, "offset") > %(after)s
    ORDER BY topic_id, partition, "offset"
    LIMIT %(limit)s
"""
# All visitors of whom something is stored, without those that only rejected records name.
SELECT_VISITORS = """
    SELECT DISTINCT user_id FROM session_metrics
    UNION
    SELECT user_id FROM session_changes
"""


class StoredNumbers(NamedTuple):
    """Numbers of sessions and events."""

    sessions: int
    events: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """Numbers of what was erased from PostgreSQL.

    erased_at: when the hashes were stored. visitors: the number of those given, or of those in the
    journal. rejected: rejected records that named one of them. journal: the file with the hashes.
    is_complete: False if documents may be left in OpenSearch.
    """

    erased_at: datetime
    visitors: int
    sessions: int
    events: int
    rejected: int
    journal: str
    is_complete: bool = False


class RejectedBytes(NamedTuple):
    """A rejected record: its key in the table, and its key and value in Kafka."""

    location: RejectedKey
    key: bytes | None
    value: bytes | None


def count(connection: Connection, visitors: Collection[str]) -> StoredNumbers:
    """Return the numbers of sessions and events that are stored of visitors."""
    with snapshot(connection) as cursor:
        cursor.execute(COUNT_STORED, {"visitors": list(visitors)})
        return StoredNumbers(*only_row(cursor))


def erase(connection: Connection, visitors: Collection[str], journal: Path) -> Erasure:
    """Erase visitors from PostgreSQL; the indexer erases them from OpenSearch after that.

    visitors: ids as they are stored. journal: the file that their hashes are appended to.
    Raises UserError if the journal cannot be written, or if a consumer does not stop writing.
    """

    def entries(cursor: Cursor) -> list[JournalEntry]:
        key = erased_visitors.ensure_key(cursor)
        return [JournalEntry(key, hash_visitor(key, each)) for each in sorted(visitors)]

    erased_at = _forbid(connection, entries, journal)
    return _erase_stored(connection, visitors, erased_at, len(visitors), journal)


def erase_again(connection: Connection, journal: Path) -> tuple[Erasure, set[str]]:
    """Repeat the erasures of a journal, and return them with the visitors that were still stored.

    A visitor is found by the hashes of all ids that are stored. Raises UserError as `erase` does.
    """
    entries = erasure_journal.read(journal)
    erased_at = _forbid(connection, lambda _: entries)
    visitors = set(_stored_visitors(connection, entries))
    number = len(erasure_journal.hashes(entries))
    return _erase_stored(connection, visitors, erased_at, number, journal), visitors


def _forbid(
    connection: Connection,
    entries_of: Callable[[Cursor], Sequence[JournalEntry]],
    journal: Path | None = None,
) -> datetime:
    """Store the hashes of visitors, so that nothing more of them is stored; return the time.

    entries_of: returns the hashes. journal: the file that they are appended to before the commit.
    """
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        entries = entries_of(cursor)
        erased_visitors.add_keys(cursor, {entry.key for entry in entries})
        erased_visitors.add(cursor, erasure_journal.hashes(entries))
        erased_at = snapshot_time(cursor)
        if journal is not None:
            erasure_journal.append(journal, entries, erased_at)
    return erased_at


def _erase_stored(
    connection: Connection,
    visitors: Collection[str],
    erased_at: datetime,
    number: int,
    journal: Path,
) -> Erasure:
    """Delete everything that is stored of visitors, in steps."""
    sessions = events = 0
    try:
        while removed := _remove_next_sessions(connection, visitors):
            sessions, events = sessions + removed.sessions, events + removed.events
        with connection, connection.cursor() as cursor:
            write_lock.share_for_step(cursor)
            change_log.forget(cursor, visitors)
        rejected = _remove_rejected(connection, visitors)
    except errors.LockNotAvailable:
        raise write_lock.step_refused(
            "wait for it and run this again; what was erased stays erased"
        ) from None
    return Erasure(erased_at, number, sessions, events, rejected, str(journal.absolute()))


def _remove_next_sessions(
    connection: Connection, visitors: Collection[str]
) -> removal.RemovedSessions | None:
    """Delete the next sessions with their events; return None if there are none."""
    with connection, connection.cursor() as cursor:
        write_lock.share_for_step(cursor)
        limits = {"events": STEP_EVENTS, "sessions": STEP_SESSIONS}
        cursor.execute(SELECT_NEXT_SESSIONS, {"visitors": list(visitors), **limits})
        ids = [session_id for (session_id,) in cursor.fetchall()]
        return removal.remove_sessions(cursor, ids) if ids else None


def _remove_rejected(connection: Connection, visitors: Collection[str]) -> int:
    """Delete the rejected records that name one of the visitors, and return their number."""
    number = 0
    names = _field_names(connection)
    for records in _rejected_records(connection):
        named = [
            record.location
            for record in records
            if names_any(record.key, record.value, visitors, names)
        ]
        if named:
            with connection, connection.cursor() as cursor:
                write_lock.share_for_step(cursor)
                number += sum(removal.remove_rejected(cursor, named).values())
    return number


def _rejected_records(connection: Connection) -> Iterator[list[RejectedBytes]]:
    """Yield all rejected records in parts of STEP_RECORDS."""
    after = RejectedKey("", -1, -1)
    while True:
        with snapshot(connection) as cursor:
            cursor.execute(SELECT_REJECTED, {"after": tuple(after), "limit": STEP_RECORDS})
            records = [
                RejectedBytes(RejectedKey(*location), key and bytes(key), value and bytes(value))
                for *location, key, value in cursor
            ]
        if not records:
            return
        yield records
        after = records[-1].location


def _stored_visitors(connection: Connection, entries: Sequence[JournalEntry]) -> Iterator[str]:
    """Yield the stored visitors whose hash is in a journal."""
    keys, hashes = {entry.key for entry in entries}, erasure_journal.hashes(entries)

    def is_erased(visitor: str) -> bool:
        return any(hash_visitor(key, visitor) in hashes for key in keys)

    with connection:
        yield from (each for (each,) in stream_rows(connection, SELECT_VISITORS) if is_erased(each))
    names = _field_names(connection)
    for records in _rejected_records(connection):
        for record in records:
            yield from filter(is_erased, visitors_of(record.key, record.value, names))


def _field_names(connection: Connection) -> FieldNames:
    with snapshot(connection) as cursor:
        return stored_reading.field_names(cursor)
