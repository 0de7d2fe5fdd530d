"""The checkpoint: how far the search index is, stored in the row of search_cursor.

A new index is first backfilled in the order of the events' keys, then updated in the order of
transaction ids. Transactions commit out of that order, so the checkpoint never passes the horizon:
the oldest transaction that is still running. (A savepoint has a later id than its transaction, so
this holds for savepoints too.)
"""

from dataclasses import dataclass

from clickstream.clients.postgres import Cursor, only_row
from clickstream.storage.change_log import CHECKPOINT_EXPIRY_DAYS, DELETE_CHECKPOINT
from clickstream.storage.write_lock import ACQUIRE_WRITE_LOCK

SELECT_CHECKPOINT = f"""
    SELECT token, horizon::text::bigint, filled_time::text, filled_id::text,
           coalesce(announced, horizon::text::bigint)
    FROM search_cursor
    WHERE system_identifier = (SELECT system_identifier::text FROM pg_control_system())
      AND moved_at > now() - interval '{CHECKPOINT_EXPIRY_DAYS} days'
"""  # noqa: S608 - built of constants
KEEP_CHECKPOINT_ALIVE = """
    UPDATE search_cursor SET moved_at = now() WHERE moved_at < now() - interval '1 day'
"""
SELECT_DATABASE = """
    SELECT 'database ' || current_database() || ' of system ' || system_identifier
    FROM pg_control_system()
"""
# Short, because batches queue behind a statement that waits for the write lock.
SET_SHORT_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
CREATE_CHECKPOINT = f"""
    {DELETE_CHECKPOINT};
    DELETE FROM session_changes;
    DELETE FROM search_refused_documents;
    INSERT INTO search_cursor (horizon, token, system_identifier, filled_time, filled_id)
    SELECT pg_snapshot_xmin(pg_current_snapshot()), %(token)s, system_identifier::text,
           %(filled_time)s, %(filled_id)s
    FROM pg_control_system()
"""  # noqa: S608 - built of constants
# Gives the next step a number. The first one is greater than every horizon so far.
ANNOUNCE_STEP = """
    UPDATE search_cursor SET announced = coalesce(announced, horizon::text::bigint) + 1
    WHERE token = %(token)s
    RETURNING announced
"""
UPDATE_CHECKPOINT = """
    UPDATE search_cursor
    SET horizon = %(horizon)s::xid8, filled_time = %(filled_time)s, filled_id = %(filled_id)s,
        moved_at = now()
    WHERE token = %(token)s
"""
DELETE_INDEXED_CHANGES = "DELETE FROM session_changes WHERE xid < %(horizon)s::xid8"

# An event key (event_time, event_id) as text, and the lowest and the highest one.
KeyText = tuple[str, str]
LOWEST_KEY: KeyText = ("-infinity", "00000000-0000-0000-0000-000000000000")
HIGHEST_KEY: KeyText = ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")


class CheckpointLostError(Exception):
    """Raised if a rebuild of the index has begun: documents of this checkpoint are outdated."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The progress of the indexer on the index that has this token.

    horizon: every transaction before it is indexed, once the backfill is complete.
    backfilled_to: key of the last event that the backfill indexed; None when it is complete.
    announced: the number of the last step whose documents may have been sent.
    """

    token: str
    horizon: int
    backfilled_to: KeyText | None
    announced: int = 0


def read(cursor: Cursor) -> Checkpoint | None:
    """Return the stored checkpoint; None if this database has no index, or it has expired."""
    cursor.execute(SELECT_CHECKPOINT)
    row = cursor.fetchone()
    if row is None:
        return None
    token, horizon, filled_time, filled_id, announced = row
    return Checkpoint(token, horizon, (filled_time, filled_id) if filled_time else None, announced)


def database(cursor: Cursor) -> str:
    """Return a name of this database that is unique among all clusters."""
    cursor.execute(SELECT_DATABASE)
    return str(only_row(cursor)[0])


def create(cursor: Cursor, token: str) -> None:
    """Store the checkpoint of a new index, at the start of its backfill.

    Because of the write lock, no running batch is without the checkpoint: each later one sees it
    and logs its changes.
    """
    cursor.execute(SET_SHORT_LOCK_TIMEOUT)
    cursor.execute(ACQUIRE_WRITE_LOCK)
    filled_time, filled_id = LOWEST_KEY
    parameters = {"token": token, "filled_time": filled_time, "filled_id": filled_id}
    cursor.execute(CREATE_CHECKPOINT, parameters)


def announce(cursor: Cursor, checkpoint: Checkpoint) -> int:
    """Store and return the number of the step that is sent next, before OpenSearch has it.

    Raises CheckpointLostError if a rebuild of the index has begun since.
    """
    cursor.execute(ANNOUNCE_STEP, {"token": checkpoint.token})
    row = cursor.fetchone()
    if row is None:
        raise CheckpointLostError("a rebuild of the index has begun")
    return int(row[0])


def advance(cursor: Cursor, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint by a later one, and delete the changes that are indexed.

    Raises CheckpointLostError if a rebuild of the index has begun since.
    """
    filled_time, filled_id = checkpoint.backfilled_to or (None, None)
    parameters = {
        "token": checkpoint.token,
        "horizon": str(checkpoint.horizon),
        "filled_time": filled_time,
        "filled_id": filled_id,
    }
    cursor.execute(UPDATE_CHECKPOINT, parameters)
    if cursor.rowcount == 0:
        raise CheckpointLostError("a rebuild of the index has begun")
    if checkpoint.backfilled_to is None:
        cursor.execute(DELETE_INDEXED_CHANGES, parameters)


def keep_alive(cursor: Cursor) -> None:
    """Keep the checkpoint from expiring while nothing changes for days."""
    cursor.execute(KEEP_CHECKPOINT_ALIVE)


def forget(cursor: Cursor) -> None:
    """Delete the checkpoint, so that the indexer rebuilds the index."""
    cursor.execute(DELETE_CHECKPOINT)
