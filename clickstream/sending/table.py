"""The rows of a CSV or TSV file with a header, as JSON objects."""

import csv
from collections.abc import Iterator

from clickstream.sending.input_stream import FormatError
from clickstream.sending.lines import split_lines
from clickstream.sending.native_json import json_object


def read_table(delimiter: str, chunks: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield each row as a JSON object, with the number of its first line.

    Values are strings. An empty cell is no field: it can stand for null or for "". Bytes that are
    not UTF-8 become lone surrogates, which the consumer replaces and names as a repair.
    limit: largest size of a line, bytes.
    Raises FormatError if the header names two columns alike or a row cannot be read.
    """
    rows = csv.reader(_text_lines(chunks, limit), delimiter=delimiter, strict=True)
    columns: list[str] = []
    first_line = 1
    try:
        for row in rows:
            if row and columns:
                yield first_line, json_object(_fields(columns, row))
            elif row:
                columns = _column_names(row)
            first_line = rows.line_num + 1
    except csv.Error as error:
        raise FormatError(f"line {first_line}: {error}; is a quotation mark missing?") from None


def _text_lines(chunks: Iterator[bytes], limit: int) -> Iterator[str]:
    for number, line in enumerate(split_lines(chunks, limit), start=1):
        if len(line) > limit:
            raise FormatError(f"line {number} is longer than {limit} bytes")
        yield line.decode("utf-8", "surrogateescape") + "\n"


def _column_names(header: list[str]) -> list[str]:
    names = [name.strip() or _name_of_column(number) for number, name in enumerate(header, 1)]
    for name in names:
        if names.count(name) > 1:
            raise FormatError(f"the header has the column {name!r} twice; rename one of them")
    return names


def _fields(columns: list[str], row: list[str]) -> dict[str, str]:
    """Return the cells that are not empty, by the names of their columns."""
    beyond = [_name_of_column(number) for number in range(len(columns) + 1, len(row) + 1)]
    return {name: cell for name, cell in zip([*columns, *beyond], row, strict=False) if cell}


def _name_of_column(number: int) -> str:
    """Return the name of a column that the header does not name."""
    return f"column_{number}"
