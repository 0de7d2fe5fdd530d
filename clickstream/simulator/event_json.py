"""A simulated event as JSON, and the record that is sent for it.

Times are microseconds since 1970-01-01 UTC.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import orjson

from clickstream.simulator.traffic_sources import DIRECT, TrafficSource

SECOND = 1_000_000
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Due time of a record that has no timestamp: earlier than every timestamp.
DUE_NOW = -(2**63)

# The lower 80 bits of a version 7 UUID: the fixed bits (version 7, variant 10) and the random ones.
UUID7_FIXED = 0x7000_8000_0000_0000_0000
UUID7_RANDOM = 0x0FFF_3FFF_FFFF_FFFF_FFFF


class Action(NamedTuple):
    """One step of a visit before it has a time: an event type and the fields that belong to it.

    continued: the next action follows after a millisecond, as the lines of one order do. source:
    the source of a session that begins with this action, if the action's referrer determines it.
    """

    event_type: str
    fields: dict[str, Any]
    continued: bool = False
    source: TrafficSource | None = None


class SimulatedEvent(NamedTuple):
    """One event of a visitor, with the key and value of its Kafka record.

    due: when it happens. time: the same by the visitor's own clock, as written into the value.
    source: the source of a session that begins with this event.
    """

    due: int
    time: int
    key: bytes
    value: bytes
    source: TrafficSource = DIRECT

    @property
    def payload(self) -> dict[str, Any]:
        """The event's fields, parsed from its value."""
        fields: dict[str, Any] = orjson.loads(self.value)
        return fields


class OutgoingRecord(NamedTuple):
    """Key and value of a record to send. due: when to send it, in simulated time."""

    due: int
    key: bytes | None
    value: bytes | None


def uuid7(time: int, rng: Random) -> str:
    """Return a version 7 UUID (RFC 9562): the milliseconds of a time, then 74 random bits."""
    text = "%032x" % (time // 1000 << 80 | rng.getrandbits(80) & UUID7_RANDOM | UUID7_FIXED)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970; a datetime without a zone is read as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - UNIX_EPOCH) // timedelta(microseconds=1)


def timestamp(time: int) -> str:
    """Return a time as ISO 8601 text with six fraction digits and Z."""
    second, fraction = divmod(time, SECOND)
    return f"{_second(second)}.{fraction:06d}Z"


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return f"{_minute(second // 60)}:{second % 60:02d}"


@lru_cache(maxsize=1024)
def _minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M")
