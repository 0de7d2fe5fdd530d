"""Rows of a query, by column name, as a dataclass, or as a stream of any length."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from clickstream.clients.postgres import Connection, Cursor

STREAMED_ROWS = 10_000

Row = dict[str, Any]
Dataclass = TypeVar("Dataclass")


def select_rows(
    cursor: Cursor, query: str, values: Mapping[str, object] | None = None
) -> list[Row]:
    """Return the rows of a query, each by column name."""
    cursor.execute(query, values)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def select_row(cursor: Cursor, query: str, values: Mapping[str, object] | None = None) -> Row:
    """Return the row of a query that always has exactly one."""
    (row,) = select_rows(cursor, query, values)
    return row


def select_as(
    kind: type[Dataclass], cursor: Cursor, query: str, values: Mapping[str, object] | None = None
) -> list[Dataclass]:
    """Return the rows of a query as values of a dataclass."""
    return [as_dataclass(kind, row) for row in select_rows(cursor, query, values)]


def as_dataclass(kind: type[Dataclass], row: Row) -> Dataclass:
    """Build a dataclass from the columns that have the names of its fields."""
    return kind(**{item.name: row[item.name] for item in fields(kind)})  # type: ignore[arg-type]


def stream_rows(
    connection: Connection, query: str, values: Mapping[str, object] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query in bounded memory, by a server-side cursor.

    connection: within a transaction, which must stay open until the last row is read.
    """
    with connection.cursor("streamed_rows") as reader:
        reader.itersize = STREAMED_ROWS
        reader.execute(query, values)
        yield from reader
