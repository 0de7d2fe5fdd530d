"""The id of an event: the UUID that was sent, or one derived from the id or record sent."""

from typing import Any
from uuid import UUID

from clickstream.model.identifiers import uuid5
from clickstream.model.json_records import HugeNumber
from clickstream.model.texts import integer_text

# Derived event ids are UUIDs of version 5 in this namespace.
EVENT_NAMESPACE = UUID("5b0f36e5-29d5-4cc4-9ee6-b6a8a4fd1f0c")
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789abcdef", b"0" * 15)


def is_canonical_uuid(text: str) -> bool:
    """Return True if a text is a UUID in lower case with its hyphens."""
    # A third of the time of a regular expression.
    zeros = text.encode("ascii", "replace").translate(_DIGITS_AS_ZEROS)
    return zeros == b"00000000-0000-0000-0000-000000000000"


def read_event_id(value: Any) -> str | None:
    """Return the id derived from a string or an integer; None for a value of another type.

    A string that is a UUID is the id itself, in lower case.
    """
    if type(value) is str:
        lower = value.lower()
        return lower if is_canonical_uuid(lower) else _from_text(value)
    text = value.text if type(value) is HugeNumber else integer_text(value)
    return None if text is None else _from_text(text)


def _from_text(text: str) -> str:
    return uuid5(EVENT_NAMESPACE, f"id:{text}".encode("utf-8", "surrogatepass"))


def event_id_of_record(origin: tuple[str, int, int], raw: bytes) -> str:
    """Return an id for an event that was sent without one, derived from its record.

    origin: topic, partition and offset. raw: the bytes of the record.
    """
    topic, partition, offset = origin
    return uuid5(EVENT_NAMESPACE, f"record:{topic}:{partition}:{offset}:".encode() + raw)
