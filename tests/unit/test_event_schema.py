"""event.schema.json and the parser say the same, as far as JSON Schema can say it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from clickstream.model.events import COLUMNS, InvalidEventError, parse

FILE = Path(__file__).parents[2] / "event.schema.json"
# Prices are decimal: 19.99 is a multiple of 0.0001, which no float can tell.
SCHEMA = json.loads(FILE.read_text(), parse_float=Decimal)
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker(["ipv4", "ipv6"]))
FAR_FUTURE = datetime.max.replace(tzinfo=UTC)

# The schema cannot say, and nothing below contains:
# - the size of a value and how deep it is nested
# - bytes of UTF-8: names near their limit are ASCII, and integers short
# - that a timestamp is in the future (the parser is told that none is), or a day that the calendar
#   lacks, or in the year 0; rarer forms of ISO 8601, which the parser reads as well
# - that 2.0 is no integer
# - lone surrogates, NaN, numbers beyond a double, keys that appear twice: there is no such JSON
VALID: dict[str, Any] = {
    "event_id": "018f3f5e-7b3a-7c11-9a53-0d2f6f3b9c01",
    "event_type": "page_view",
    "timestamp": "2024-05-01T12:00:00.123456Z",
    "user_id": "user-1",
}
WRONG: list[Any] = [True, 7, -3, 4.5, [], {}, [None], {"a": ["b"]}, "\0", "a\0", ["\0"], {"\0": 1}]
NAMES = [None, "", "a", "\u00e9", "a\n", "a" * 256, "a" * 257, *WRONG]
LONG_TEXTS = [None, "", "a", "a\n", "a" * 8_192, "a" * 8_193, "\U0001f600" * 8_192, *WRONG]
ADDRESSES = [
    *(None, "", "203.0.113.7", "256.0.0.1", "1.2.3", "01.2.3.4", "10.0.0.0/8", "1.2.3.4\n"),
    *("::", "2001:DB8::1", "::ffff:203.0.113.7", "::1::", "fe80::1%eth0", "12345::", *WRONG),
]
VALUES: dict[str, list[Any]] = {
    "event_id": [None, "", "x", "\u00e9", "a" * 9_000, 0, 10**30, *WRONG],
    "event_type": NAMES,
    "user_id": NAMES,
    "timestamp": [
        *("2024-05-01", "2024-05-01T12", "2024-05-01T12:00", "2024-05-01 12:00:00", "2024-5-1"),
        *("2024-05-01T12:00:00.1Z", "2024-05-01T12:00:00.1234567+02:00", "2024-05-01T12:00Z"),
        *("2024-05-01T12:00:00-0530", "2024-05-01T12:00:00,5+02", "2024-05-01T24:00:00Z"),
        *("2024-13-01", "2024-00-01", "2024-05-32", "2024-05-00", "12024-05-01", "24-05-01"),
        *("0001-01-01", "9999-12-31T23:59:59.999999Z", "2024-05-01T12:60", "2024-05-01T"),
        *("2024-05-01T12:00:60Z", "2024-05-01T12:00:00+24:00", "2024-05-01Z", "", "now"),
        *("2024-05-01T12:00:00z", "1714564800", 0, -1, 1714564800.5, 1714564800123, None),
        *(10**11 - 1, 10**11, 1e11, 10**18, -(10**18), 1e300, *WRONG),
        *(-62_135_596_800, -62_135_596_801, 253_402_300_799_999, 253_402_300_800_000),
    ],
    "ip_address": ADDRESSES,
    "ip": ADDRESSES,
    "device": LONG_TEXTS,
    "success": [None, True, False, 0, "true", *WRONG],
    "price": [
        *(None, 0, -0.0, 0.1, 19.99, 100.0, 0.0001, 0.00001, 1.23456, -5.25, 9999999999),
        *(9999999999.9999, 10**10, -(10**10), 1e10, 1e300, "1", *WRONG),
    ],
    "quantity": [None, 0, 1, 10**6, 10**6 + 1, 10**30, 1.5, "1", *WRONG],
    "extra": [None, "", "a" * 9_000, 1e300, [[{"a": [{"b": "\0"}]}]], *WRONG],
}
VALUES |= {name: LONG_TEXTS for name in COLUMNS[:-1] if name not in {*VALUES, "event_time"}}


def is_valid(event: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid(json.loads(json.dumps(event), parse_float=Decimal))


def is_parsed(event: dict[str, Any]) -> bool:
    try:
        parse(json.dumps(event).encode(), origin=("t", 0, 0), latest=FAR_FUTURE)
    except InvalidEventError:
        return False
    return True


def test_the_schema_is_one_and_lists_the_fields_of_an_event() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    columns = {*COLUMNS} - {"event_time", "properties"}
    assert SCHEMA["properties"].keys() == columns | {"timestamp", "ip", "device"}


@pytest.mark.parametrize("name", ["event_id", "event_type", "timestamp", "user_id"])
def test_both_agree_on_what_may_be_missing(name: str) -> None:
    event = {field: value for field, value in VALID.items() if field != name}
    assert is_valid(event) == is_parsed(event) == (name == "event_id")


@pytest.mark.parametrize("name", VALUES)
def test_both_agree_on_each_field_at_its_bounds(name: str) -> None:
    events = [VALID | {name: value} for value in VALUES[name]]
    valid = [event[name] for event in events if is_valid(event)]
    assert valid == [event[name] for event in events if is_parsed(event)]
    assert 0 < len(valid) < len(events)


def test_both_agree_on_a_name_that_cannot_be_stored() -> None:
    assert not is_valid(VALID | {"ex\0tra": 1})
    assert not is_parsed(VALID | {"ex\0tra": 1})


@pytest.mark.parametrize(
    ("name", "other"), [("ip", {"ip_address": "::1"}), ("device", {"device_type": ""})]
)
def test_both_agree_on_another_name_beside_the_first(name: str, other: dict[str, str]) -> None:
    for value in VALUES[name]:
        event = VALID | other | {name: value}
        assert is_valid(event) == is_parsed(event), event
    assert is_parsed(VALID | other | {name: 7})


some_fields = st.lists(st.sampled_from(sorted(VALUES)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: st.sampled_from(VALUES[name]) for name in names})
)
short_texts = st.text(st.characters(max_codepoint=0x7F), max_size=5)
some_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | short_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short_texts, inner, max_size=3),
    max_leaves=5,
).filter(lambda value: not isinstance(value, float) or not value.is_integer())
random_fields = st.dictionaries(
    st.sampled_from(sorted(VALUES.keys() - {"timestamp"})) | short_texts, some_json, max_size=3
)


@given(some_fields, random_fields, st.sets(st.sampled_from(sorted(VALID)), max_size=1))
def test_both_agree_on_events_with_anything_changed(
    fields: dict[str, Any], more: dict[str, Any], missing: set[str]
) -> None:
    event = {name: value for name, value in (VALID | fields | more).items() if name not in missing}
    assert is_valid(event) == is_parsed(event)


@given(st.decimals(-(10**11), 10**11, places=5))
def test_both_agree_on_prices(price: Decimal) -> None:
    event = VALID | {"price": float(price)}
    assert is_valid(event) == is_parsed(event)
