"""The formats of recorded files: JSON lines, one JSON array, CSV and TSV."""

import csv
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

from clickstream.sending.json_array import read_array
from clickstream.sending.lines import split_lines
from clickstream.sending.table import read_table

TAB = "\t"
DELIMITERS = (",", ";", TAB)
LINES_SUFFIXES = (".ndjson", ".jsonl")
TSV_SUFFIXES = (".tsv", ".tab")
TABLE_SUFFIXES = (".csv", *TSV_SUFFIXES)

_is_column_name = re.compile(r"[A-Za-z_$@][\w .:$@/-]*").fullmatch


class FileFormat(NamedTuple):
    """A format of recorded files.

    unit: the word for one event in messages, "line" or "element". read: yields the number and the
    JSON text of each event; it takes the chunks of the file and the largest size of an event,
    bytes, and raises FormatError if the rest cannot be read.
    """

    unit: str
    read: Callable[[Iterator[bytes], int], Iterator[tuple[int, bytes]]]


def _read_json_lines(chunks: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, as they are."""
    for number, line in enumerate(split_lines(chunks, limit), start=1):
        if line and not line.isspace():
            yield number, line


def _read_json_array(chunks: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    return enumerate(read_array(chunks, limit), start=1)


JSON_LINES = FileFormat("line", _read_json_lines)
JSON_ARRAY = FileFormat("element", _read_json_array)


def detect_format(head: bytes, name: str) -> FileFormat:
    """Return the format of a file.

    head: the beginning of the file, at least its first line if that is not very long. name: the
    file's name. Its suffix decides only if the content could be of two formats.
    """
    suffix = PurePath(name.removesuffix(".gz")).suffix.lower()
    start = head.lstrip()
    if start.startswith(b"["):
        return JSON_ARRAY if _is_whole_file(start, suffix) else JSON_LINES
    if start.startswith(b"{") or suffix in LINES_SUFFIXES:
        return JSON_LINES
    delimiter = _delimiter(head.lstrip(b"\r\n"), suffix)
    return FileFormat("line", partial(read_table, delimiter)) if delimiter else JSON_LINES


def _is_whole_file(start: bytes, suffix: str) -> bool:
    """Return False if the array that a file starts with is only its first line."""
    first_line, _, rest = start.partition(b"\n")
    is_followed = first_line.rstrip().endswith(b"]") and rest.strip() != b""
    return suffix not in LINES_SUFFIXES and not is_followed


def _delimiter(head: bytes, suffix: str) -> str | None:
    """Return the delimiter of a table's header; None if it is no table."""
    header = head.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
    candidates = (TAB,) if suffix in TSV_SUFFIXES else DELIMITERS
    delimiter = max(candidates, key=header.count)
    if suffix in TABLE_SUFFIXES or _is_header(header, delimiter):
        return delimiter
    return None


def _is_header(line: str, delimiter: str) -> bool:
    """Return True if a line consists of at least two different names."""
    try:
        names = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return False
    return 1 < len(names) == len(set(names)) and all(map(_is_column_name, names))
