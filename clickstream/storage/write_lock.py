"""The advisory lock that everything that writes sessions must hold.

Batches hold it in shared mode, and a batch that is stored again after a conflict in exclusive mode.
A command that changes sessions outside a batch holds it in exclusive mode and increases every
epoch, so that no consumer continues with an outdated cache.
"""

from psycopg2 import errors

from clickstream.clients.postgres import Cursor
from clickstream.errors import UserError
from clickstream.storage import schema_version

# The number is arbitrary; it spells "click".
WRITE_LOCK = 0x636C69636B
SHARE_WRITE_LOCK = f"SELECT pg_advisory_xact_lock_shared({WRITE_LOCK})"
ACQUIRE_WRITE_LOCK = f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"
SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = %s"
BUMP_EPOCHS = "UPDATE stream_positions SET epoch = epoch + 1"

BATCH_TIMEOUT = "30s"
EXCLUSION_TIMEOUT = "60s"
STEP_TIMEOUT = "60s"


def share(cursor: Cursor, timeout: str) -> None:
    """Acquire the lock in shared mode, until the transaction ends.

    timeout: for this and the transaction's later locks, as PostgreSQL reads it, such as "30s".
    Raises LockNotAvailable.
    """
    cursor.execute(SET_LOCK_TIMEOUT, (timeout,))
    cursor.execute(SHARE_WRITE_LOCK)


def share_for_step(cursor: Cursor) -> None:
    """Acquire the lock in shared mode for one step of a command. Raises LockNotAvailable."""
    share(cursor, STEP_TIMEOUT)


def step_refused(advice: str) -> UserError:
    """Return the error for a step that found a lock taken for too long.

    advice: what to do, the end of the sentence.
    """
    return UserError(f"another command has been writing for more than {STEP_TIMEOUT}: {advice}")


def statements_for_batch(*, alone: bool) -> str:
    """Return the statements that acquire the lock for a batch, until the transaction ends.

    They precede another statement, to save round trips. They raise LockNotAvailable.
    alone: in exclusive mode, so that no other batch is stored meanwhile.
    """
    acquire = ACQUIRE_WRITE_LOCK if alone else SHARE_WRITE_LOCK
    return f"SET LOCAL lock_timeout = '{BATCH_TIMEOUT}'; {acquire};"


def exclude_consumers(cursor: Cursor) -> None:
    """Keep every consumer out until the transaction ends, and make all of them drop their caches.

    Waits for the batches that are being stored. Raises UserError if one of them does not end, or if
    the tables are of another version.
    """
    cursor.execute(SET_LOCK_TIMEOUT, (EXCLUSION_TIMEOUT,))
    try:
        cursor.execute(ACQUIRE_WRITE_LOCK)
    except errors.LockNotAvailable:
        raise UserError(
            f"a consumer or another command has been writing for more than {EXCLUSION_TIMEOUT}: "
            "wait for it, or end its process if it is frozen, and run this again"
        ) from None
    schema_version.require(cursor)
    cursor.execute(BUMP_EPOCHS)
