"""Recorded files for the tests of the replay: the same events in each format."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Fields = Mapping[str, Any]


def json_lines(events: Sequence[Fields]) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


def compact_array(events: Sequence[Fields]) -> str:
    return json.dumps(events)


def indented_array(events: Sequence[Fields]) -> str:
    return json.dumps(events, indent=2, ensure_ascii=False)


def table(events: Sequence[Fields], delimiter: str = ",") -> str:
    """Return the events as a table; every event has all fields, so no cell is empty."""
    columns = list(dict.fromkeys(name for event in events for name in event))
    text = io.StringIO()
    rows = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator="\n")
    rows.writeheader()
    rows.writerows(events)
    return text.getvalue()


def tab_separated(events: Sequence[Fields]) -> str:
    return table(events, "\t")


# Suffix of the file's name, and what writes the events.
FORMATS: dict[str, tuple[str, Callable[[Sequence[Fields]], str]]] = {
    "JSON lines": (".ndjson", json_lines),
    "compact array": (".json", compact_array),
    "indented array": (".json", indented_array),
    "CSV": (".csv", table),
    "TSV": (".tsv", tab_separated),
}


def write(path: Path, text: str, *, crlf: bool = False, encoding: str = "utf-8") -> Path:
    """Write a file; if its name ends with .gz, compressed. encoding: utf-8-sig writes a mark."""
    content = (text.replace("\n", "\r\n") if crlf else text).encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def in_chunks(content: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut bytes into chunks of these sizes; the rest is the last chunk."""
    chunks = []
    for size in sizes:
        chunks.append(content[:size])
        content = content[size:]
    return [*chunks, content]
