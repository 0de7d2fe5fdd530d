"""Rows as the text that COPY reads."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO

from clickstream.clients.postgres import Cursor

NULL = "\\N"
ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def copy(cursor: Cursor, table: str, lines: Iterable[str]) -> None:
    """COPY lines, each without its line feed, into a table whose columns they have in order."""
    cursor.copy_expert(f"COPY {table} FROM STDIN", StringIO("\n".join(lines) + "\n"))


def line(values: Sequence[object]) -> str:
    """One row."""
    texts = [NULL if v is None else v if type(v) is str else _text(v) for v in values]
    row = "\t".join(texts)
    if (
        row.count("\\") == values.count(None)
        and row.count("\t") == len(texts) - 1
        and "\n" not in row
        and "\r" not in row
    ):
        return row
    return "\t".join([NULL if v is None else _text(v).translate(ESCAPES) for v in values])


def _text(value: object) -> str:
    if type(value) is datetime:
        return value.isoformat()
    return str(value)
