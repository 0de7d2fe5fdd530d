"""Records in the strict form: they become the same events as if they were read field by field."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.events import InvalidEventError
from clickstream.model.field_names import parse_field_names
from clickstream.model.reading import NATIVE_READING, Reading
from clickstream.model.strict_form import read_strict_form
from tests.unit.parsing import FAR_FUTURE, STRICT, properties, read, with_json

# With a name that no record has, every record is read field by field.
FIELD_BY_FIELD = Reading(field_names=parse_field_names("visit_id=no such name"))
ODD: list[Any] = [None, "", "a", " ", "a" * 65, "\0", "\ud83d", 0, -1, 7, 1.5, 1e300, True, [], {}]
ODD += ["2024-05-01T12:00:00.1234567Z", "2024-05-01T12:00:00+00:00", "20240501T120000.12345678Z"]
ODD += ["::ffff:1.2.3.4", "1.2.3.4:5", "18F3F5E0-7B3A-7C11-9A53-0D2F6F3B9C01", 10**30, 0.00001]
changes = st.dictionaries(
    st.sampled_from([*STRICT, "device", "ip", "device_type", "x\0", "x"]),
    st.sampled_from(ODD),
    max_size=3,
)


@given(changes)
def test_records_in_the_strict_form_are_read_as_all_others_are(changed: dict[str, Any]) -> None:
    value = json.dumps(STRICT | changed).encode()
    assert outcome(value, Reading()) == outcome(value, FIELD_BY_FIELD)


def outcome(value: bytes, setting: Reading) -> Any:
    """Return an event with its properties as an object, or the reason it is rejected for."""
    try:
        event = read(value, reading=setting)
    except InvalidEventError as error:
        return error.detail
    return event._replace(properties=None), event.properties is None, properties(event)


ONLY_NATIVE = {name: value for name, value in STRICT.items() if name != "extra"}
PIECES = [
    b'"',
    b"\\",
    b"\\n",
    b"\\u0000",
    b"\\ud83d",
    b"\\u00e9",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
]
PIECES += [b" ", b"\n", b"\0", b"\x01", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf"]
PIECES += [
    b"0",
    b"1",
    b"-",
    b".5",
    b"e3",
    b"1e400",
    b"9" * 30,
    b"null",
    b"true",
    b"NaN",
    b"z",
    b"+00:00",
]
PIECES += [
    b'"user_id":"w",',
    b'"user_id":7,',
    b'"quantity":2.0,',
    b'"price":"1",',
    b'"x":1,',
    b'"ip":"::1",',
]
cuts = st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from([b"", *PIECES]))


@given(st.sampled_from([STRICT, ONLY_NATIVE]), st.lists(cuts, min_size=1, max_size=3))
def test_damaged_records_in_the_strict_form_are_read_as_all_others_are(
    fields: dict[str, Any], damages: list[tuple[float, int, bytes]]
) -> None:
    value = json.dumps(fields, separators=(",", ":")).encode()
    for place, removed, piece in damages:
        at = round(place * len(value))
        value = value[:at] + piece + value[at + removed :]
    assert outcome(value, Reading()) == outcome(value, FIELD_BY_FIELD)


TIMES = ["2024-05-01T12:00:00Z", "2024-05-01T12:00:00.5+00:00", "2024-05-01T12:00:00.123456Z"]
TIMES += ["2024-05-01 12:00:00.123+00:00", "2024-05-01T12:00:00.123456+00:00"]


@pytest.mark.parametrize("time", TIMES)
def test_times_in_utc_with_at_most_six_digits_are_in_the_strict_form(time: str) -> None:
    value = with_json("timestamp", json.dumps(time))
    strict = read_strict_form(value, FAR_FUTURE, NATIVE_READING)
    assert strict == read(value, reading=FIELD_BY_FIELD)


OTHER_TIMES = ["2024-05-01T12:00:00.1234567Z", "20240501T120000.12345678Z", "2024-05-01T12:00:00"]
OTHER_TIMES += ["2024-05-01T12:00:00+01:00", "2024-05-01", "Z", "", "2024-05-01T12:00:00.123456789"]


@pytest.mark.parametrize("time", OTHER_TIMES)
def test_other_times_are_not_in_the_strict_form(time: str) -> None:
    value = with_json("timestamp", json.dumps(time))
    assert read_strict_form(value, FAR_FUTURE, NATIVE_READING) is None


OTHER_VALUES = {"price": ['"1"', "0.00001", "1e10", "true"], "quantity": ["2.0", "1000001", '"2"']}
OTHER_VALUES |= {"engaged_ms": ["-1", "0.5", "86400001"], "success": ["1", '"true"']}
OTHER_VALUES |= {"page_url": ['""', "7", "{}"], "user_id": ['""', '" "', "null", f'"{"a" * 65}"']}
OTHER_VALUES |= {"ip_address": ['"1.2.3.4:5"', '""'], "ip": ['"1.2.3.4"'], "device": ['"x"']}
OTHER_VALUES |= {"extra": ["1" + "0" * 20, '"\\u0000"'], "event_id": ['"A"', "null"]}


@pytest.mark.parametrize(
    ("field", "text"), [(field, text) for field in OTHER_VALUES for text in OTHER_VALUES[field]]
)
def test_values_that_need_more_than_their_type_are_not_in_the_strict_form(
    field: str, text: str
) -> None:
    assert read_strict_form(with_json(field, text), FAR_FUTURE, NATIVE_READING) is None


def test_of_a_field_that_appears_twice_the_last_value_counts() -> None:
    value = with_json("price", '"x", "price": 2.5')
    assert outcome(value, Reading()) == outcome(value, FIELD_BY_FIELD)
    strict = read_strict_form(value[:-1] + b', "extra": 1, "extra": 2}', FAR_FUTURE, NATIVE_READING)
    assert strict is not None
    assert (strict.price, properties(strict)) == (Decimal("2.5"), {"extra": 2})
