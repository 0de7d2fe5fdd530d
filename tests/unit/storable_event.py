"""Checking that an event can be stored: COPY reads its values as they are."""

import re
from datetime import datetime, timedelta
from uuid import UUID

from clickstream.model.events import RECORD_FIELDS, Event
from clickstream.storage.copy_rows import csv_rows
from clickstream.storage.event_table import copied_values
from tests.unit.parsing import properties

# A value of CSV as COPY reads it: a text in quotes, or null, a number or a boolean.
_match_value = re.compile(r'(?:"((?:[^"\\]+|\\["\\])*)"|([a-z0-9-]+))(?:,|$)').match
_replace_escapes = re.compile(r'\\(["\\])').sub


def values_of_line(line: str) -> list[str | None]:
    """Return the values of a line as COPY reads it."""
    values: list[str | None] = []
    start = 0
    while start < len(line):
        found = _match_value(line, start)
        assert found, line
        text, other = found.groups()
        if text is not None:
            values.append(_replace_escapes(r"\1", text))
        else:
            values.append(None if other == "null" else other)
        start = found.end()
    return values


def check_storable(event: Event) -> None:
    """Check that COPY reads the values of an event as they are, and that all can be stored."""
    copied = values_of_line(csv_rows([copied_values(event)]).decode())
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
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
