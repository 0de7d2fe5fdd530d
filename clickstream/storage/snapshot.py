"""One moment of the database, for numbers that have to agree, and its rows as values."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor
from clickstream.errors import UserError, first_line

BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

Row = dict[str, Any]
T = TypeVar("T")


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
            f"({first_line(error)}); create them with: python create_schema.py"
        ) from None


def rows(cursor: Cursor, query: str, values: Mapping[str, object] | None = None) -> list[Row]:
    """The rows of a query, by column name."""
    cursor.execute(query, values)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def one(cursor: Cursor, query: str, values: Mapping[str, object] | None = None) -> Row:
    """The one row of a query that always has one."""
    (row,) = rows(cursor, query, values)
    return row


def fill(kind: type[T], row: Row) -> T:
    """A value of a dataclass, from the columns that have the names of its fields."""
    return kind(**{item.name: row[item.name] for item in fields(kind)})  # type: ignore[arg-type]
