"""The parser stores what event.schema.json allows exactly as it was sent."""

import json
from datetime import datetime
from decimal import Decimal
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from clickstream.model.events import FIELD_COLUMNS, OTHER_NAMES, RECORD_FIELDS, InvalidEventError
from clickstream.model.reading import NATIVE_READING
from clickstream.model.strict_form import read_strict_form
from tests.unit.parsing import FAR_FUTURE, VALID, properties, read

FILE = Path(__file__).parents[2] / "event.schema.json"
# Prices are decimal: 19.99 is a multiple of 0.0001, but not as a float.
SCHEMA = json.loads(FILE.read_text(), parse_float=Decimal)
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker(["ipv4", "ipv6"]))

# The schema cannot say, and nothing below contains:
# - the size of a value and how deep it is nested
# - bytes of UTF-8: names near their limit are ASCII
# - that a timestamp is in the future (all are accepted here), or a day that does not exist
# - lone surrogates, NaN, numbers outside a double, keys that appear twice: there is no such JSON
WRONG: list[Any] = [True, 7, -3, 4.5, [], {}, [None], {"a": ["b"]}, "\0", "a\0", ["\0"], {"\0": 1}]
NAMES = [None, "", "a", " ", " a ", "\u00e9", "a\n", "\n", "a" * 256, "a" * 257, *WRONG]
LONG_TEXTS = [None, "", "a", " ", "a\n", "a" * 8_192, "a" * 8_193, "\U0001f600" * 8_192, *WRONG]
UUID = "018f3f5e-7b3a-7c11-9a53-0d2f6f3b9c01"
VALUES: dict[str, list[Any]] = {
    "event_id": [None, "", "x", UUID, UUID.upper(), UUID + "0", f"{{{UUID}}}", UUID[:-1], *WRONG],
    "event_type": NAMES,
    "user_id": NAMES,
    "timestamp": [
        *("2024-05-01T12:00:00Z", "2024-05-01T12:00:00.1Z", "2024-05-01T12:00:00.123456Z"),
        *("2024-05-01T12:00:00.1234567Z", "2024-05-01T12:00:00+00:00", "2024-05-01T12:00:00"),
        *("2024-05-01 12:00:00Z", "2024-05-01T12:00:00z", "2024-05-01T24:00:00Z", "2024-05-01"),
        *("2024-13-01T12:00:00Z", "2024-05-32T12:00:00Z", "2024-05-01T12:60:00Z", "", "now"),
        *("1990-01-01T00:00:00Z", "1989-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"),
        *("1714564800", 0, 1714564800.5, 1714564800123, None, *WRONG),
    ],
    "ip_address": [
        *(None, "", "203.0.113.7", "256.0.0.1", "1.2.3", "01.2.3.4", "10.0.0.0/8", "1.2.3.4\n"),
        *("::", "2001:DB8::1", "::ffff:203.0.113.7", "0:0:0:0:0:FFFF:cb00:7107", "ffff::1"),
        *("::1::", "fe80::1%eth0", "12345::", "1.2.3.4:5", "1.2.3.4, ::1", *WRONG),
    ],
    "ip": [None, "203.0.113.7", *WRONG],
    "device": [None, "tablet", *WRONG],
    "success": [None, True, False, 0, "true", *WRONG],
    "price": [
        *(None, 0, -0.0, 0.1, 19.99, 100.0, 0.0001, 0.00001, 1.23456, -5.25, 9999999999),
        *(9999999999.9999, 10**10, -(10**10), 1e10, 1e300, "1", *WRONG),
    ],
    "quantity": [None, 0, 1, 2.0, 10**6, 10**6 + 1, -(10**6), -(10**6) - 1, 10**30, 1.5, *WRONG],
    "engaged_ms": [None, 0, 1, 2.0, 86_400_000, 86_400_001, -1, 10**30, 1.5, *WRONG],
    "extra": [None, "", "a" * 9_000, 1e300, [[{"a": [{"b": "\0"}]}]], *WRONG],
}
VALUES |= {name: LONG_TEXTS for name in FIELD_COLUMNS if name not in {*VALUES, "event_time"}}


def is_valid(event: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid(json.loads(json.dumps(event), parse_float=Decimal))


def check_stored_as_sent(sent: dict[str, Any]) -> None:
    """Check that an event is read without repair, each field with the value as sent."""
    event = read(json.dumps(sent).encode(), FAR_FUTURE)
    assert event.repaired is None
    assert event.event_time == datetime.fromisoformat(sent["timestamp"])
    for name in {*FIELD_COLUMNS} - {"event_id", "event_time", "price", "ip_address"}:
        assert getattr(event, name) == sent.get(name), name
        assert type(getattr(event, name)) is not bool or type(sent[name]) is bool
    price = sent.get("price")
    assert event.price == (None if price is None else Decimal(repr(price)))
    assert event.ip_address == sent.get("ip_address") or is_mapped(sent["ip_address"])
    if sent.get("event_id") is not None:
        assert event.event_id == sent["event_id"].lower()
    native = {*RECORD_FIELDS, *(name for names in OTHER_NAMES.values() for name in names)}
    others = {name: value for name, value in sent.items() if name not in native}
    assert properties(event) == others


def is_mapped(address: str) -> bool:
    """Return True for an IPv4-mapped IPv6 address: the IPv4 address is stored."""
    parsed = ip_address(address)
    return isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None


def test_the_schema_is_valid_and_lists_the_fields_of_an_event() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"].keys() == {*RECORD_FIELDS, "ip", "device"}


def test_the_schema_and_the_parser_require_the_same_fields() -> None:
    assert not is_valid({})
    for name in VALID:
        event = {field: value for field, value in VALID.items() if field != name}
        assert is_valid(event) == (name == "event_id")
        if name != "event_id":
            with pytest.raises(InvalidEventError):
                read(json.dumps(event).encode())


@pytest.mark.parametrize("name", VALUES)
def test_each_value_that_is_valid_is_stored_as_it_was_sent(name: str) -> None:
    events = [VALID | {name: value} for value in VALUES[name]]
    valid = [event for event in events if is_valid(event)]
    assert 0 < len(valid) < len(events)
    for event in valid:
        check_stored_as_sent(event)


@pytest.mark.parametrize("name", ["event_type", "user_id", "success"])
def test_no_other_value_is_stored_as_it_was_sent(name: str) -> None:
    for value in VALUES[name]:
        event = VALID | {name: value}
        if not is_valid(event):
            with pytest.raises((InvalidEventError, AssertionError)):
                check_stored_as_sent(event)


def test_a_name_that_cannot_be_stored_is_not_valid() -> None:
    assert not is_valid(VALID | {"ex\0tra": 1})


some_fields = st.lists(st.sampled_from(sorted(VALUES)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: st.sampled_from(VALUES[name]) for name in names})
)
short_texts = st.text(st.characters(max_codepoint=0x7F), max_size=5)
some_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | short_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short_texts, inner, max_size=3),
    max_leaves=5,
)
random_fields = st.dictionaries(
    st.sampled_from(sorted(VALUES.keys() - {"timestamp"})) | short_texts, some_json, max_size=3
)


@given(some_fields, random_fields)
def test_a_valid_event_with_anything_in_it_is_stored_as_it_was_sent(
    fields: dict[str, Any], more: dict[str, Any]
) -> None:
    event = VALID | fields | more
    if is_valid(event):
        check_stored_as_sent(event)


@given(st.decimals(-(10**11), 10**11, places=4) | st.decimals(-10, 10, places=5))
def test_a_valid_price_is_stored_as_it_was_sent(price: Decimal) -> None:
    event = VALID | {"price": float(price)}
    if is_valid(event):
        check_stored_as_sent(event)


def test_a_valid_event_like_those_of_our_producer_is_in_the_strict_form() -> None:
    fields = {"page_url": "/", "price": 19.99, "quantity": 2, "ip_address": "::1", "locale": "de"}
    event = VALID | fields
    assert is_valid(event)
    assert read_strict_form(json.dumps(event).encode(), FAR_FUTURE, NATIVE_READING) is not None
