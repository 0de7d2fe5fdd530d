"""Rows in the text format of COPY."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from io import BytesIO

from clickstream.clients.postgres import Cursor

NULL = "\\N"
ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def copy(cursor: Cursor, table: str, lines: Iterable[str]) -> None:
    """Insert rows into a table by COPY.

    table: its name, followed by a list of columns if the rows do not have all of them.
    lines: one row each, made by `line`.
    """
    # Bytes, because one large character makes each character of a text take four bytes of memory.
    rows = BytesIO(b"".join(line.encode() + b"\n" for line in lines))
    cursor.copy_expert(f"COPY {table} FROM STDIN", rows)


def line(values: Sequence[object]) -> str:
    """Return one row, without a line feed.

    Datetimes must be aware. A tuple is an array of names, which need no quotes.
    """
    texts = [NULL if v is None else v if type(v) is str else _text(v) for v in values]
    row = "\t".join(texts)
    # Few rows need escapes, and counting characters is much faster than escaping each value.
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
    if type(value) is tuple:
        return f"{{{','.join(value)}}}"
    return str(value)
