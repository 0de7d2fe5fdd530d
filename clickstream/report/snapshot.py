"""One moment of the database, for numbers that have to agree with each other."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's class name

from clickstream.errors import UserError
from clickstream.servers.postgres import Connection

BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


@contextmanager
def snapshot(connection: Connection) -> Iterator[Cursor]:
    """A cursor whose statements all see the same moment; the transaction ends with the block.

    Raises UserError where the tables do not exist.
    """
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(BEGIN)
            yield cursor
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        raise UserError(
            f"database {connection.info.dbname} has no tables of this version "
            f"({str(error).splitlines()[0]}); create them with: python create_schema.py"
        ) from None
