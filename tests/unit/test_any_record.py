"""Any record becomes an event or a named error; fields without a column become properties."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from clickstream.model.events import (
    FIELD_COLUMNS,
    OTHER_NAMES,
    RECORD_FIELDS,
    REQUIRED_FIELDS,
    TEXT_FIELDS,
    InvalidEventError,
)
from tests.unit.parsing import (
    FAR_FUTURE,
    VALID,
    check_refusal,
    event_with,
    properties,
    read,
    record,
    with_json,
)
from tests.unit.storable_event import check_storable

STORED_BY_0_2 = Path(__file__).parents[1] / "data" / "stored_by_0.2.ndjson.gz"


def nested(levels: int, innermost: str = "") -> bytes:
    """Return a valid record of this many levels, the object itself the first."""
    return with_json("extra", "[" * (levels - 1) + innermost + "]" * (levels - 1))


# == Properties =================================================================================


def test_every_column_has_its_field() -> None:
    fields: dict[str, Any] = {name: f"value of {name}" for name in TEXT_FIELDS}
    fields |= {"ip_address": "::1", "success": False, "price": 1.5, "quantity": 2, "engaged_ms": 3}
    event = event_with(**fields)
    for name in FIELD_COLUMNS[4:]:
        assert getattr(event, name) == (Decimal("1.5") if name == "price" else fields[name])
    assert set(FIELD_COLUMNS[4:]) == fields.keys()
    assert event.properties is None


def test_null_and_the_empty_string_are_absent() -> None:
    names = [*TEXT_FIELDS, "ip_address", "ip", "device", "success", "price", "quantity"]
    names.append("engaged_ms")
    assert event_with(**dict.fromkeys(names)) == event_with()
    assert event_with(**dict.fromkeys(names, "")) == event_with()


def test_ip_and_device_are_read_if_their_first_names_are_absent() -> None:
    event = event_with(ip="::1", device="tablet")
    assert (event.ip_address, event.device_type, event.properties) == ("::1", "tablet", None)
    assert event_with(ip="::1", ip_address=None).ip_address == "::1"
    assert event_with(device="tablet", device_type="").device_type == "tablet"


def test_ip_and_device_are_properties_if_their_first_names_are_given() -> None:
    event = event_with(ip="x", ip_address="::1", device=7, device_type="tablet")
    assert (event.ip_address, event.device_type) == ("::1", "tablet")
    assert properties(event) == {"ip": "x", "device": 7}
    assert event.repaired is None


def test_the_last_value_of_a_key_that_appears_twice_counts() -> None:
    twice = with_json("extra", '1, "user_id": "other", "extra": 2')
    assert read(twice).user_id == "other"
    assert properties(read(twice)) == {"extra": 2}
    assert read(with_json("price", 'NaN, "price": 2')).repaired is None


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    event = read(with_json("extra", r'"\\u0000"'))
    assert (properties(event), event.repaired) == ({"extra": r"\u0000"}, None)


storable_text = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
)
storable_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | storable_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(storable_text, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(storable_text.map(lambda name: f"_{name}"), storable_json, max_size=3),
    st.booleans(),
    st.booleans(),
)
@example({"_": 12345678901234567890123, "_e": "1e9"}, True, True)
@example({"_": 1e20}, True, True)
def test_properties_are_kept_exactly(extra: dict[str, Any], escaped: bool, strict: bool) -> None:
    fields = VALID | extra if strict else VALID | extra | {"user_id": 7}
    event = read(json.dumps(fields, ensure_ascii=escaped).encode())
    assert properties(event) == extra
    assert list(map(repr, properties(event).values())) == list(map(repr, extra.values()))
    assert event.repaired is None


# == Any bytes, any JSON ========================================================================


@pytest.mark.parametrize("text", ["\t", "\n", "\r", "\\", r"\N", r"\.", r"\t", '"', "\x7f\x85"])
def test_a_text_arrives_in_the_table_as_it_is(text: str) -> None:
    check_storable(event_with(page_url=text))
    check_storable(event_with(page_url=text, referrer=f"a{text}b", extra={text: text}))


def check(value: bytes | None) -> None:
    """Check that a record is a storable event, or rejected for a known reason."""
    try:
        check_storable(read(value, FAR_FUTURE))
    except InvalidEventError as error:
        check_refusal(error)
        if error.event:
            check_storable(error.event)


@given(st.none() | st.binary())
def test_any_bytes_are_an_event_or_the_named_error(value: bytes | None) -> None:
    check(value)


any_text = (
    st.text(st.characters(), max_size=20)
    | st.sampled_from(["\0", "\ud800", r"\N", "\t", "::1", "1.2.3.4:5", "2024-05-01", "24:00"])
    | st.sampled_from(["9999-12-31", "20240501", "1e5", "-7", "1e99999999999999999999", "TRUE"])
)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**11, 10**30, 10**308, 10**400, -(10**18), 1e300, 0.00001, 2**53])
    | st.floats()
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)
NAMES = [*RECORD_FIELDS, *(name for names in OTHER_NAMES.values() for name in names)]
any_fields = st.dictionaries(st.sampled_from(NAMES) | any_text, any_json)


def encoded(value: Any, escaped: bool) -> bytes:
    return json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


@given(any_json | any_fields, st.booleans())
def test_any_json_is_an_event_or_the_named_error(value: Any, escaped: bool) -> None:
    check(encoded(value, escaped))


@given(any_fields, st.booleans())
def test_any_change_of_a_valid_event_is_an_event_or_the_named_error(
    changes: dict[str, Any], escaped: bool
) -> None:
    check(encoded(VALID | changes, escaped))


@given(st.data())
def test_any_changed_bytes_of_a_valid_event_are_an_event_or_the_named_error(
    data: st.DataObject,
) -> None:
    value = bytearray(record({"price": 1.5, "extra": [r"\u0000", "1e5"]}))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(value))


OPTIONAL = [name for name in NAMES if name not in REQUIRED_FIELDS]
OPTIONAL_JSON = st.dictionaries(
    st.sampled_from(OPTIONAL) | any_text.filter(lambda name: name not in REQUIRED_FIELDS),
    any_json,
    max_size=5,
)


@given(OPTIONAL_JSON)
def test_no_optional_field_ever_costs_an_event(optional: dict[str, Any]) -> None:
    event = read(encoded(optional | VALID | without_event_id(optional), escaped=True))
    assert (event.event_type, event.user_id) == ("page_view", "user-1")
    check_storable(event)


def without_event_id(optional: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": optional["event_id"]} if "event_id" in optional else {}


@given(OPTIONAL_JSON)
def test_a_repaired_event_keeps_the_values_as_sent(optional: dict[str, Any]) -> None:
    assume(storable(optional))
    event = read(encoded(VALID | optional, escaped=True))
    kept = properties(event)
    for field in event.repaired or ():
        names = [name for name in (field, *OTHER_NAMES.get(field, ())) if name in kept]
        assert any(kept[name] == optional[name] for name in names), field


def storable(value: Any) -> bool:
    """Return True if jsonb can hold a value as it was sent."""
    text = json.dumps(value, ensure_ascii=False)
    no_numbers = re.search(r"NaN|Infinity|[0-9]{309}", text)
    return not no_numbers and not re.search(r"\\u0000|[\ud800-\udfff]", text)
