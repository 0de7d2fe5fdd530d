"""Events from a file of one JSON object per line, read as a stream."""

import gzip
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import orjson

from clickstream.errors import UserError
from clickstream.traffic.events import SECOND, Record

MILLISECONDS_FROM = 10**11


def replay(source: str, *, strict: bool) -> Iterator[Record]:
    """The lines of a file (plain or .gz) or of standard input ("-"), as they are.

    A line that is no event is sent all the same, without a key where its visitor is unknown, at
    the time of the line before. Blank lines are skipped.
    Raises UserError where the file cannot be read; with `strict` also at the first bad line.
    """
    due = 0
    try:
        with _open(source) as lines:
            for number, line in enumerate(lines, start=1):
                value = line.strip()
                if not value:
                    continue
                record = _record(value, due)
                if strict and record.key is None:
                    raise UserError(
                        f"line {number} of {source} is no event (JSON with user_id, event_type and "
                        "timestamp); correct it, or send it as it is without --strict"
                    )
                due = record.due
                yield record
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {source}: {reason}; check --replay") from None


def _open(source: str) -> AbstractContextManager[IO[bytes]]:
    if source == "-":
        return nullcontext(sys.stdin.buffer)
    return gzip.open(source) if source.endswith(".gz") else Path(source).open("rb")  # type: ignore[return-value]


def _record(value: bytes, due: int) -> Record:
    """The line as a record: keyed by its visitor, due at its timestamp, if it has them."""
    try:
        event = orjson.loads(value)
        if not isinstance(event["event_type"], str):
            return Record(due, None, value)
        return Record(_time(event["timestamp"]), _key(event["user_id"]), value)
    except (ValueError, TypeError, KeyError, OverflowError):
        return Record(due, None, value)


def _key(user_id: object) -> bytes:
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        raise TypeError("neither text nor a whole number")
    return str(user_id).encode()


def _time(value: object) -> int:
    """Microseconds since 1970 of ISO 8601 text (UTC where it has no zone) or of epoch time."""
    if isinstance(value, str):
        read = datetime.fromisoformat(value)
        moment = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        moment = value / 1000 if abs(value) >= MILLISECONDS_FROM else value
    else:
        raise TypeError("neither text nor a number")
    return int(moment * SECOND)
