"""Reading on a second connection at the same time, from the same moment of the database.

PostgreSQL does most steps of a large query in one process, so that one connection leaves other
processors idle.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.storage.interruptible import cancel_until_done
from clickstream.storage.snapshot import snapshot

EXPORT_SNAPSHOT = "SELECT pg_export_snapshot()"
USE_SNAPSHOT = "SET TRANSACTION SNAPSHOT %s"

Result = TypeVar("Result")


@contextmanager
def reading_beside(
    cursor: Cursor, second: Connection, read: Callable[[Cursor], Result]
) -> Iterator[Future[Result]]:
    """Run `read` in a thread, on the snapshot of a cursor, and yield the future of its result.

    second: a connection that nobody else uses, not in autocommit and outside a transaction. The
    block's end waits for `read`; an error in the block cancels its query.
    """
    cursor.execute(EXPORT_SNAPSHOT)
    (name,) = only_row(cursor)

    def read_snapshot() -> Result:
        with snapshot(second) as other:
            other.execute(USE_SNAPSHOT, (name,))
            return read(other)

    with ThreadPoolExecutor(max_workers=1) as executor:
        reading = executor.submit(read_snapshot)
        try:
            yield reading
        except BaseException:
            cancel_until_done(second, reading)
            raise
