"""A simulated event: its id, its timestamp and its JSON. Times are microseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import orjson

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# When a record without a time of its own is due: before every time there is.
AT_ONCE = -(2**63)

# The lower 80 bits of a UUID of version 7: version 7, variant 10, all others random.
UUID7_FIXED = 0x7000_8000_0000_0000_0000
UUID7_RANDOM = 0x0FFF_3FFF_FFFF_FFFF_FFFF


class Action(NamedTuple):
    """What a visitor does, before it has a time: the event's type and the fields that go with it.

    continued: the next action follows at once, as the further lines of an order do.
    """

    event_type: str
    fields: dict[str, Any]
    continued: bool = False


class Event(NamedTuple):
    """One event of a visitor, as the record that it becomes.

    due: when it happened. time: when by the visitor's own clock, which is what the value says.
    """

    due: int
    time: int
    key: bytes
    value: bytes

    @property
    def payload(self) -> dict[str, Any]:
        """The fields of the event, read from its value."""
        fields: dict[str, Any] = orjson.loads(self.value)
        return fields


class Record(NamedTuple):
    """What is handed to Kafka. due: when to send it, as simulated time goes."""

    due: int
    key: bytes | None
    value: bytes | None


def uuid7(time: int, rng: Random) -> str:
    """A UUID of version 7 (RFC 9562): milliseconds, then 74 random bits."""
    text = "%032x" % (time // 1000 << 80 | rng.getrandbits(80) & UUID7_RANDOM | UUID7_FIXED)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def microseconds(moment: datetime) -> int:
    """Since 1970; a moment without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def timestamp(time: int) -> str:
    """ISO 8601 with six digits and Z."""
    second, fraction = divmod(time, SECOND)
    return f"{_second(second)}.{fraction:06d}Z"


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return f"{_minute(second // 60)}:{second % 60:02d}"


@lru_cache(maxsize=1024)
def _minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M")
