"""Time and visitor of a record, read alone, are those of its event."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.events import MAX_LEVELS
from clickstream.model.reading import NATIVE_READING
from clickstream.model.strict_form import read_time_and_visitor
from tests.unit.parsing import LATEST, STRICT, VALID, read, with_json
from tests.unit.test_strict_form import changes, cuts


def check(value: bytes) -> bool:
    """Return True if both are found; they are then those of the event, which is not rejected."""
    found = read_time_and_visitor(value, LATEST, NATIVE_READING)
    if found:
        event = read(value)
        assert found == (event.event_time, event.user_id)
    return found is not None


@given(changes)
def test_what_is_found_in_records_with_odd_values_is_that_of_the_event(
    changed: dict[str, Any],
) -> None:
    check(json.dumps(STRICT | changed).encode())


@given(st.lists(cuts, min_size=1, max_size=3))
def test_what_is_found_in_damaged_records_is_that_of_the_event(
    damages: list[tuple[float, int, bytes]],
) -> None:
    value = json.dumps(STRICT).encode()
    for place, removed, piece in damages:
        at = round(place * len(value))
        value = value[:at] + piece + value[at + removed :]
    check(value)


@pytest.mark.parametrize("fields", [VALID, STRICT, VALID | {"event_id": 7, "price": "cheap"}])
def test_records_whose_required_fields_are_in_the_strict_form_are_found(
    fields: dict[str, Any],
) -> None:
    assert check(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "value",
    [
        with_json("page_url", '"x"').replace(b"x", b"\xff"),
        with_json("page_url", '"\\u0000"'),
        with_json("page_url", "[" * MAX_LEVELS + "]" * MAX_LEVELS),
        with_json("page_url", "NaN"),
        with_json("timestamp", '"2999-01-01T00:00:00Z"'),
        with_json("timestamp", '"1980-01-01T00:00:00Z"'),
        with_json("timestamp", "1714564800"),
        with_json("user_id", '" "'),
        with_json("user_id", "7"),
        with_json("event_type", '""'),
        b"[]",
        b"",
    ],
)
def test_other_records_are_left_to_the_parser_of_events(value: bytes) -> None:
    assert not check(value)
