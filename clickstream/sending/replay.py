"""Events from a file of one JSON object per line, read as a stream."""

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
from clickstream.simulator.event_json import AT_ONCE, Record, microseconds

MILLISECONDS_FROM = 10**11
CHUNK_BYTES = 1 << 20
CHUNKS_AHEAD = 4
LOOK_AGAIN_SECONDS = 0.2


def replay(source: str, stop: Stop, *, latest: int, strict: bool) -> Iterator[Record]:
    """The lines of a file (plain or .gz) or of standard input ("-"), as they are, until the stop.

    A line that is no event is sent all the same, without a key. It is due at once, as is an event
    later than `latest` (microseconds), which nobody can have recorded and nobody can wait for.
    Blank lines are skipped. Memory holds some lines at a time, however long the file.
    Raises UserError where the file cannot be read; with `strict` also at the first bad line.
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
        yield record if record.due <= latest else record._replace(due=AT_ONCE)


def lines_expected(source: str) -> int | None:
    """About how many lines there are, judged by the first ones; None where they would be gone."""
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
    """A file as it reads, and as it is on the disk, which is the same unless it is compressed.

    Raises UserError where it cannot be read, also half-way.
    """
    try:
        with Path(source).open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if source.endswith(".gz") else raw
            yield cast("IO[bytes]", file), raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {source}: {reason}; check --replay") from None


def _standard_input(stop: Stop) -> Iterator[bytes]:
    """Its lines, read by a thread of its own: a read that waits would not notice the stop."""
    chunks: Queue[bytes] = Queue(CHUNKS_AHEAD)
    Thread(target=_read, args=(chunks,), daemon=True).start()
    rest = b""
    while not stop.requested:
        try:
            chunk = chunks.get(timeout=LOOK_AGAIN_SECONDS)
        except Empty:
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if not chunk:
            yield rest
            return


def _read(chunks: Queue[bytes]) -> None:
    # Not through sys.stdin.buffer, whose lock would be held when the interpreter ends.
    while chunk := os.read(sys.stdin.fileno(), CHUNK_BYTES):
        chunks.put(chunk)
    chunks.put(b"")


def _record(value: bytes) -> Record:
    """The line as a record: keyed by its visitor, due at its timestamp, if it has them."""
    try:
        event = orjson.loads(value)
        if isinstance(event["event_type"], str):
            return Record(_time(event["timestamp"]), _key(event["user_id"]), value)
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        pass
    return Record(AT_ONCE, None, value)


def _key(user_id: object) -> bytes:
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        raise TypeError("neither text nor a whole number")
    return str(user_id).encode()


def _time(value: object) -> int:
    """Microseconds since 1970 of ISO 8601 text (UTC where it has no zone) or of epoch time."""
    if isinstance(value, str):
        return microseconds(datetime.fromisoformat(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("neither text nor a number")
    seconds = value / 1000 if value >= MILLISECONDS_FROM else value
    return microseconds(datetime.fromtimestamp(seconds, UTC))
