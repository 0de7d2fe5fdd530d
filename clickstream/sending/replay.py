"""Replays recorded events: reads a file with one JSON object per line as a stream."""

import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, cast

import orjson

from clickstream.errors import UserError
from clickstream.signals import Stop
from clickstream.simulator.event_json import DUE_NOW, OutgoingRecord, microseconds

MILLISECONDS_ABOVE = 10**11
CHUNK_BYTES = 1 << 20
CHUNKS_AHEAD = 4
STOP_CHECK_SECONDS = 0.2


def replay(source: str, stop: Stop, *, latest: int, strict: bool) -> Iterator[OutgoingRecord]:
    """Yield the lines of a file (plain or .gz) or of standard input ("-") as they are.

    A line that is no event is sent too, without a key. It is due at once, and so is an event later
    than `latest` (microseconds since 1970), because waiting for it would take too long.
    Blank lines are skipped. Memory holds a few lines at a time, whatever the size of the file.
    Raises UserError if the file cannot be read; with `strict` also at the first bad line.
    """
    for number, line in enumerate(_lines(source, stop), start=1):
        value = line.strip()
        if stop.requested:
            return
        if not value:
            continue
        record = _record(value)
        if strict and record.key is None:
            raise UserError(
                f"line {number} of {source} is no event (JSON with user_id, event_type and "
                "timestamp); correct it, or send it as it is without --strict"
            )
        yield record if record.due <= latest else record._replace(due=DUE_NOW)


def lines_expected(source: str) -> int | None:
    """Return about how many lines a file has, estimated from the first ones; None for stdin."""
    if not Path(source).is_file():
        return None
    with _opened(source) as (file, raw):
        lines = file.read(CHUNK_BYTES).count(b"\n")
        return round(lines * Path(source).stat().st_size / max(raw.tell(), 1))


def _lines(source: str, stop: Stop) -> Iterator[bytes]:
    if source == "-":
        yield from _standard_input(stop)
        return
    with _opened(source) as (file, _):
        yield from file


@contextmanager
def _opened(source: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file. Yields its decompressed content, and the file on disk to tell the position.

    Raises UserError if it cannot be read, also if that happens in the middle.
    """
    try:
        with Path(source).open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if source.endswith(".gz") else raw
            yield cast("IO[bytes]", file), raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {source}: {reason}; check --replay") from None


def _standard_input(stop: Stop) -> Iterator[bytes]:
    """Yield the lines of standard input. A thread reads them, so that a stop is noticed."""
    chunks: Queue[bytes] = Queue(CHUNKS_AHEAD)
    Thread(target=_read, args=(chunks,), daemon=True).start()
    rest = b""
    while not stop.requested:
        try:
            chunk = chunks.get(timeout=STOP_CHECK_SECONDS)
        except Empty:
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if not chunk:
            yield rest
            return


def _read(chunks: Queue[bytes]) -> None:
    # Not through sys.stdin.buffer: this thread would hold its lock when the interpreter exits.
    while chunk := os.read(sys.stdin.fileno(), CHUNK_BYTES):
        chunks.put(chunk)
    chunks.put(b"")


def _record(value: bytes) -> OutgoingRecord:
    """Return a line as a record with its visitor as key, due at its timestamp, if it has both."""
    try:
        event = orjson.loads(value)
        if isinstance(event["event_type"], str):
            return OutgoingRecord(_time(event["timestamp"]), _key(event["user_id"]), value)
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        pass
    return OutgoingRecord(DUE_NOW, None, value)


def _key(user_id: object) -> bytes:
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        raise TypeError("neither text nor a whole number")
    return str(user_id).encode()


def _time(value: object) -> int:
    """Return microseconds since 1970 of ISO 8601 text (UTC if it has no zone) or epoch time."""
    if isinstance(value, str):
        return microseconds(datetime.fromisoformat(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("neither text nor a number")
    seconds = value / 1000 if value >= MILLISECONDS_ABOVE else value
    return microseconds(datetime.fromtimestamp(seconds, UTC))
