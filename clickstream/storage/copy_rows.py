"""Inserting rows by COPY, in its CSV format.

A row is written as a JSON array, which is done in C. Without its brackets it is a line of CSV in
which a backslash escapes quotes and backslashes.
"""

import re
from collections.abc import Iterable, Sequence
from io import BytesIO

import msgspec

from clickstream.clients.postgres import Cursor

COPY_ROWS = r"COPY {} FROM STDIN WITH (FORMAT csv, NULL 'null', ESCAPE '\')"

_encode = msgspec.json.Encoder().encode
# An escape of JSON that CSV does not have, or a backslash that is escaped itself.
_find_other_escape = re.compile(rb'\\[^"\\]').search
_replace_escapes = re.compile(rb'\\(?:["\\]|[bfnrt]|u00[01][0-9a-f])').sub
_CSV_ESCAPES = (rb"\"", rb"\\")


def copy(cursor: Cursor, table: str, rows: Iterable[Sequence[object]]) -> None:
    """Insert rows into a table by COPY.

    table: its name, followed by a list of columns if the rows do not have all of them.
    rows: values that are None, bool, int, Decimal, text, or an aware datetime.
    """
    text = csv_rows(rows)
    # In one piece: psycopg2 waits for the interpreter before each, while another thread works.
    cursor.copy_expert(COPY_ROWS.format(table), BytesIO(text), size=len(text))


def csv_rows(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as lines of CSV. rows: see `copy`."""
    lines = [_encode(row)[1:-1] for row in rows]
    text = b"\n".join(lines)
    if not _find_other_escape(text):
        return text
    return b"\n".join(
        _replace_escapes(_character, line) if _find_other_escape(line) else line for line in lines
    )


def _character(escape: re.Match[bytes]) -> bytes:
    """Return the character that an escape stands for; an escape of CSV stays as it is."""
    text = escape[0]
    return text if text in _CSV_ESCAPES else msgspec.json.decode(b'"%b"' % text).encode()
