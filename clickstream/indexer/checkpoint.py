"""How far the index is: the row of search_cursor, and the next step from there.

A new index is first filled with what is stored, in the order of the events' keys; then it follows
transactions. Those commit out of the order of their ids, so the cursor never passes the horizon:
the oldest one that has not ended (right with savepoints, whose ids come later).
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from psycopg2.extras import execute_values

from clickstream.clients.postgres import Cursor, only_row
from clickstream.indexer.bulk import Document, Refusal
from clickstream.indexer.documents import CHANGED, STORED
from clickstream.storage.positions import STOP_WRITERS
from clickstream.storage.session_table import FORGET_INDEX

# One indexer works at a time. The number is arbitrary; it spells "index".
TRY_TO_LEAD = f"SELECT pg_try_advisory_lock({0x696E646578})"
HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# A day before changes are no longer noted for it (storage/session_table.py) a cursor ends.
READ = """
    SELECT token, horizon::text::bigint, filled_time::text, filled_id::text
    FROM search_cursor
    WHERE system_identifier = (SELECT system_identifier::text FROM pg_control_system())
      AND moved_at > now() - interval '6 days'
"""
STAY = "UPDATE search_cursor SET moved_at = now() WHERE moved_at < now() - interval '1 day'"
DATABASE = """
    SELECT 'database ' || current_database() || ' of system ' || system_identifier
    FROM pg_control_system()
"""
# Kept short: batches wait behind a command that waits for the lock.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
CREATE = f"""
    {FORGET_INDEX};
    DELETE FROM session_changes;
    DELETE FROM search_refused_documents;
    INSERT INTO search_cursor (horizon, token, system_identifier, filled_time, filled_id)
    SELECT pg_snapshot_xmin(pg_current_snapshot()), %(token)s, system_identifier::text,
           %(filled_time)s, %(filled_id)s
    FROM pg_control_system()
"""  # noqa: S608 - built of constants
MOVE = """
    UPDATE search_cursor
    SET horizon = %(horizon)s::xid8, filled_time = %(filled_time)s, filled_id = %(filled_id)s,
        moved_at = now()
    WHERE token = %(token)s
"""
PRUNE = "DELETE FROM session_changes WHERE xid < %(horizon)s::xid8"

# A transaction of many rows is taken whole, so a step may have more of them.
CHANGED_UNTIL = """
    WITH events AS (
        SELECT xid::text::bigint AS id FROM clickstream_events
        WHERE xid >= %(start)s::xid8 AND xid < %(horizon)s::xid8 ORDER BY xid LIMIT %(most)s),
    changes AS (
        SELECT xid::text::bigint AS id FROM session_changes
        WHERE xid >= %(start)s::xid8 AND xid < %(horizon)s::xid8 ORDER BY xid LIMIT %(most)s)
    SELECT least(%(horizon)s,
                 (SELECT max(id) + 1 FROM events HAVING count(*) = %(most)s),
                 (SELECT max(id) + 1 FROM changes HAVING count(*) = %(most)s))
    WHERE EXISTS (SELECT FROM events) OR EXISTS (SELECT FROM changes)
"""
STORED_UNTIL = """
    SELECT event_time::text, event_id::text FROM clickstream_events AS e
    WHERE (event_time, event_id) > (%(after_time)s::timestamptz, %(after_id)s::uuid)
    ORDER BY e.event_time, e.event_id
    LIMIT 1 OFFSET %(most)s - 1
"""
LAST_KEY = ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")

ANY_REFUSED = "SELECT EXISTS (SELECT FROM search_refused_documents)"
FORGET_REFUSED = """
    DELETE FROM search_refused_documents AS r USING (VALUES %s) AS sent (index_name, document_id)
    WHERE (r.index_name, r.document_id) = (sent.index_name, sent.document_id)
"""
ADD_REFUSED = """
    INSERT INTO search_refused_documents (index_name, document_id, status, reason) VALUES %s
    ON CONFLICT (index_name, document_id) DO UPDATE
    SET status = excluded.status, reason = excluded.reason, refused_at = now()
"""


class CursorLostError(Exception):
    """Somebody else made the index anew: what was read for it no longer counts."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far the index of a token is.

    horizon: every transaction before it is indexed, once the index is full. filled_time,
    filled_id: while it is not, the key of the last event that is in it.
    """

    token: str
    horizon: int
    filled_time: str | None
    filled_id: str | None


# Before all that is stored, for whoever goes through it without an index of their own.
BEGINNING = Checkpoint("", 0, "-infinity", "00000000-0000-0000-0000-000000000000")


@dataclass(frozen=True, slots=True)
class IndexStep:
    """A statement of documents.py with its parameters, and where the index is after it."""

    statement: str
    parameters: dict[str, Any]
    after: Checkpoint


def database(cursor: Cursor) -> str:
    """What tells this database from all others."""
    cursor.execute(DATABASE)
    return str(only_row(cursor)[0])


def read(cursor: Cursor) -> Checkpoint | None:
    """The stored checkpoint; None where there is no index of this database."""
    cursor.execute(READ)
    row = cursor.fetchone()
    return Checkpoint(*row) if row else None


def stay(cursor: Cursor) -> None:
    """Keep the cursor from ending where nothing happens for days."""
    cursor.execute(STAY)


def create(cursor: Cursor, token: str) -> None:
    """Begin a new index at its beginning.

    Under the lock of all writers: each batch from now on sees the cursor and notes its changes,
    and there is none that did not.
    """
    cursor.execute(LOCK_TIMEOUT)
    cursor.execute(STOP_WRITERS)
    cursor.execute(CREATE, {**asdict(BEGINNING), "token": token})


def forget(cursor: Cursor) -> None:
    """Let the indexer make the index anew."""
    cursor.execute(FORGET_INDEX)


def next_step(cursor: Cursor, checkpoint: Checkpoint, most: int) -> IndexStep | None:
    """The next documents to send, those of about so many rows; None where there is nothing new."""
    if checkpoint.filled_time is not None:
        return backfill_step(cursor, checkpoint, most)
    horizon = _horizon(cursor)
    values = {"start": checkpoint.horizon, "horizon": horizon, "most": most}
    cursor.execute(CHANGED_UNTIL, {name: str(value) for name, value in values.items()})
    found = cursor.fetchone()
    if found is None:
        return None
    parameters = {"start": str(checkpoint.horizon), "end": str(found[0]), "version": found[0]}
    return IndexStep(CHANGED, parameters, replace(checkpoint, horizon=found[0]))


def backfill_step(cursor: Cursor, checkpoint: Checkpoint, most: int) -> IndexStep:
    """The documents of the next events by their keys, and of the sessions that begin there."""
    horizon = _horizon(cursor)
    start = {"after_time": checkpoint.filled_time, "after_id": checkpoint.filled_id}
    cursor.execute(STORED_UNTIL, {**start, "most": most})
    last = cursor.fetchone()
    to_time, to_id = last or LAST_KEY
    parameters = {**start, "to_time": to_time, "to_id": to_id, "version": horizon}
    filled_time, filled_id = last or (None, None)
    return IndexStep(
        STORED, parameters, replace(checkpoint, filled_time=filled_time, filled_id=filled_id)
    )


def _horizon(cursor: Cursor) -> int:
    cursor.execute(HORIZON)
    return int(only_row(cursor)[0])


def any_refused(cursor: Cursor) -> bool:
    """Whether some document was refused before."""
    cursor.execute(ANY_REFUSED)
    return bool(only_row(cursor)[0])


def move(
    cursor: Cursor, checkpoint: Checkpoint, taken: Iterable[Document], refusals: Iterable[Refusal]
) -> None:
    """Store where the index is now, and which documents it took and refused on the way.

    Raises CursorLostError where another index was begun meanwhile.
    """
    cursor.execute(MOVE, {**asdict(checkpoint), "horizon": str(checkpoint.horizon)})
    if cursor.rowcount == 0:
        raise CursorLostError("the index was begun anew")
    if checkpoint.filled_time is None:
        cursor.execute(PRUNE, {"horizon": str(checkpoint.horizon)})
    execute_values(cursor, FORGET_REFUSED, sorted(set(taken)), template="(%s, %s)")
    refused = {refusal[:2]: refusal for refusal in refusals}
    execute_values(cursor, ADD_REFUSED, [refused[key] for key in sorted(refused)])
