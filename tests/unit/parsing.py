"""Helpers to parse records in tests."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clickstream.model.events import Event, InvalidEventError
from clickstream.model.parse import parse
from clickstream.model.reading import NATIVE_READING, Reading

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
LATEST = NOW + timedelta(hours=1)
FAR_FUTURE = datetime.max.replace(tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ORIGIN = ("clicks", 3, 1042)
VALID: dict[str, Any] = {
    "event_id": "018f3f5e-7b3a-7c11-9a53-0d2f6f3b9c01",
    "event_type": "page_view",
    "timestamp": "2024-05-01T12:00:00.123456Z",
    "user_id": "user-1",
}
# A record in the strict form that also has a key without a column.
STRICT: dict[str, Any] = VALID | {
    "page_url": "/",
    "price": 19.99,
    "quantity": 2,
    "ip_address": "203.0.113.7",
    "success": True,
    "extra": {"a": [1, 2.5, "b"]},
}


def read(
    value: bytes | None, latest: datetime = LATEST, reading: Reading = NATIVE_READING
) -> Event:
    """Parse the bytes of a record."""
    return parse(value, origin=ORIGIN, latest=latest, reading=reading)


def record(changes: dict[str, Any]) -> bytes:
    """Return a valid record with some fields changed; lone surrogates are written as escapes."""
    return json.dumps(VALID | changes).encode()


def event_with(**changes: Any) -> Event:
    """Return the event of a valid record with some fields changed."""
    return read(record(changes))


def with_json(name: str, text: str) -> bytes:
    """Return a valid record in which the value of one field is this JSON text."""
    others = {field: value for field, value in VALID.items() if field != name}
    return f'{json.dumps(others)[:-1]}, "{name}": {text}}}'.encode()


def properties(event: Event) -> Any:
    """Return the properties of an event; {} if it has none."""
    return json.loads(event.properties or "{}", parse_constant=pytest.fail)


def refusal(
    value: bytes | None, latest: datetime = LATEST, reading: Reading = NATIVE_READING
) -> InvalidEventError:
    """Return the error that a record is rejected with."""
    with pytest.raises(InvalidEventError) as refused:
        read(value, latest, reading)
    check_refusal(refused.value)
    return refused.value


def check_refusal(error: InvalidEventError) -> None:
    """Check that an error is one of the known reasons, with one sentence that can be stored."""
    assert error.reason in REASONS
    assert error.detail.endswith(".")
    assert "\0" not in error.detail
    assert len(error.detail.encode()) < 4_000


REASONS = {
    *("no_value", "value_too_large", "not_utf8", "not_json", "schema_registry_not_json"),
    *("nested_too_deep", "not_an_object", "missing_field", "wrong_type", "too_long", "bad_text"),
    *("bad_timestamp", "timestamp_out_of_range"),
}
