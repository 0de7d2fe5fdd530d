"""A transaction whose statements all see the same moment of the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.errors import UserError, first_line

BEGIN_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
FORBID_WRITING = "SET TRANSACTION READ ONLY"
SELECT_SNAPSHOT_TIME = "SELECT now()"


@contextmanager
def snapshot(connection: Connection, *, read_only: bool = True) -> Iterator[Cursor]:
    """Open a cursor on one moment of the database; the transaction ends with the block.

    connection: not in autocommit and outside a transaction. read_only: False for a transaction
    that creates a temporary table. Raises UserError if the tables do not exist.
    """
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(BEGIN_SNAPSHOT)
            if read_only:
                cursor.execute(FORBID_WRITING)
            yield cursor
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction) as error:
        raise UserError(
            f"database {connection.info.dbname} has no tables of this version "
            f"({first_line(error)}); create them with: python create_schema.py"
        ) from None


def snapshot_time(cursor: Cursor) -> datetime:
    """Return the server's time at the beginning of the snapshot."""
    cursor.execute(SELECT_SNAPSHOT_TIME)
    time: datetime = only_row(cursor)[0]
    return time
