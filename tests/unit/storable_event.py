"""Checking that an event can be stored: COPY reads its values as they are."""

import re
from datetime import datetime, timedelta
from uuid import UUID

from clickstream.model.events import RECORD_FIELDS, Event
from clickstream.storage.copy_rows import line
from tests.unit.parsing import properties

ESCAPED = {r"\t": "\t", r"\n": "\n", r"\r": "\r", r"\\": "\\"}


def values_of_line(row: str) -> list[str | None]:
    """Return the values of a line as COPY reads it."""
    assert "\n" not in row
    assert "\r" not in row
    return [None if text == r"\N" else unescaped(text) for text in row.split("\t")]


def unescaped(text: str) -> str:
    return re.sub(r"\\.?", lambda escape: ESCAPED[escape[0]], text)


def check_storable(event: Event) -> None:
    """Check that COPY reads the values of an event as they are, and that all can be stored."""
    copied = values_of_line(line(event))
    assert copied == [
        value if value is None or type(value) is str else as_text(value) for value in event
    ]
    text = "".join(value or "" for value in copied)
    assert "\0" not in text
    text.encode()
    UUID(event.event_id)
    properties(event)
    assert event.event_time.utcoffset() == timedelta(0)
    assert event.repaired is None or set(event.repaired) <= {*RECORD_FIELDS, "properties"}


def as_text(value: object) -> str:
    if isinstance(value, tuple):
        return "{" + ",".join(value) + "}"
    return value.isoformat() if isinstance(value, datetime) else str(value)
