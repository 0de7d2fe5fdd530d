"""The door of the pipeline: what becomes an event, what is rejected, and with which reason."""

import gc
import json
import re
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clickstream.model.events import (
    COLUMNS,
    EVENT_NAMESPACE,
    MAX_DEPTH,
    MAX_VALUE_BYTES,
    Event,
    InvalidEventError,
    parse,
)
from clickstream.storage.copy_rows import line

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
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
REASONS = {
    *("no_value", "value_too_large", "not_utf8", "not_json", "nested_too_deep", "not_an_object"),
    *("missing_field", "wrong_type", "too_long", "bad_text", "bad_ip", "not_a_number"),
    *("number_out_of_range", "bad_timestamp", "timestamp_out_of_range"),
}
TEXTS = (
    *("page_url", "referrer", "user_agent", "device_type", "country", "city", "product_id"),
    *("product_category", "order_id", "search_query", "element_id", "viewport_size"),
    *("article_id", "article_category", "visit_id"),
)
# All of Unicode that can be stored.
unicode_text = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
)


def read(value: bytes | None, latest: datetime = LATEST) -> Event:
    return parse(value, origin=ORIGIN, latest=latest)


def of(latest: datetime = LATEST, /, **fields: Any) -> Event:
    """The event of a valid record with some fields changed."""
    return read(json.dumps(VALID | fields).encode(), latest)


def reason(value: bytes | None, latest: datetime = LATEST) -> str:
    with pytest.raises(InvalidEventError) as refused:
        read(value, latest)
    assert refused.value.detail.endswith(".")
    assert "\0" not in refused.value.detail
    return refused.value.reason


def reason_of(latest: datetime = LATEST, /, **fields: Any) -> str:
    return reason(json.dumps(VALID | fields).encode(), latest)


def with_property(text: str) -> bytes:
    """A valid record with the JSON of one property as it is."""
    return json.dumps(VALID).encode()[:-1] + b', "extra": ' + text.encode() + b"}"


def properties(event: Event) -> Any:
    return json.loads(event.properties or "{}")


def nested(levels: int, innermost: str = "") -> bytes:
    """A valid record so many levels deep, the object itself the first."""
    return with_property("[" * (levels - 1) + innermost + "]" * (levels - 1))


# == Every kind of bad record ===================================================================


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "no_value"),
        (b"\xff{}", "not_utf8"),
        (b'{"a": "\xed\xa0\x80"}', "not_utf8"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"{'a': 1}", "not_json"),
        (b'{"a": 1} {"a": 2}', "not_json"),
        (b'\xef\xbb\xbf{"a": 1}', "not_json"),
        (b'{"a": "\n"}', "not_json"),
        (b"[" * 100_000, "nested_too_deep"),
        (b"[1]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (with_property("NaN"), "not_a_number"),
        (with_property("-Infinity"), "not_a_number"),
        (with_property("1e400"), "number_out_of_range"),
        (with_property("[-1e400]"), "number_out_of_range"),
        (with_property("9" * 400), "number_out_of_range"),
        (with_property("9" * 5_000), "number_out_of_range"),
        (with_property('{"extra": 1e400, "extra": 1}'), "number_out_of_range"),
        (with_property(r'"\u0000"'), "bad_text"),
        (with_property(r'[{"\u0000": 1}]'), "bad_text"),
        (with_property(r'"\ud800"'), "bad_text"),
        (with_property(r'{"\udfff": 1}'), "bad_text"),
        (with_property(r'{"extra": "\ud800", "extra": 1}'), "bad_text"),
    ],
)
def test_a_value_that_is_no_json_object_of_storable_text(
    value: bytes | None, expected: str
) -> None:
    assert reason(value) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event_type": None}, "missing_field"),
        ({"event_type": ""}, "missing_field"),
        ({"event_type": 7}, "wrong_type"),
        ({"event_type": "\0"}, "bad_text"),
        ({"user_id": None}, "missing_field"),
        ({"user_id": ""}, "missing_field"),
        ({"user_id": True}, "wrong_type"),
        ({"user_id": 4.5}, "wrong_type"),
        ({"user_id": ["u"]}, "wrong_type"),
        ({"event_id": ""}, "missing_field"),
        ({"event_id": 1.5}, "wrong_type"),
        ({"event_id": False}, "wrong_type"),
        ({"timestamp": None}, "missing_field"),
        ({"timestamp": True}, "wrong_type"),
        ({"timestamp": {}}, "wrong_type"),
        ({"timestamp": ""}, "bad_timestamp"),
        ({"timestamp": "yesterday"}, "bad_timestamp"),
        ({"timestamp": "2024-02-30T00:00:00Z"}, "bad_timestamp"),
        ({"timestamp": "1714564800"}, "bad_timestamp"),
        ({"timestamp": 10**18}, "timestamp_out_of_range"),
        ({"timestamp": -(10**18)}, "timestamp_out_of_range"),
        ({"timestamp": 1e300}, "timestamp_out_of_range"),
        ({"timestamp": "0001-01-01T00:00:00+01:00"}, "timestamp_out_of_range"),
        ({"ip_address": "256.1.1.1"}, "bad_ip"),
        ({"ip_address": "1.2.3"}, "bad_ip"),
        ({"ip_address": "10.0.0.0/8"}, "bad_ip"),
        ({"ip_address": ""}, "bad_ip"),
        ({"ip_address": "::1::"}, "bad_ip"),
        ({"ip_address": 7}, "wrong_type"),
        ({"ip": "no"}, "bad_ip"),
        ({"device": 7}, "wrong_type"),
        ({"success": 1}, "wrong_type"),
        ({"success": "true"}, "wrong_type"),
        ({"price": "9.99"}, "wrong_type"),
        ({"price": True}, "wrong_type"),
        ({"quantity": 1.5}, "wrong_type"),
        ({"quantity": "1"}, "wrong_type"),
        ({"quantity": True}, "wrong_type"),
    ],
)
def test_a_field_that_is_missing_or_wrong(fields: dict[str, Any], expected: str) -> None:
    assert reason_of(**fields) == expected


@pytest.mark.parametrize("name", ["event_type", "timestamp", "user_id"])
def test_a_field_that_is_not_there(name: str) -> None:
    assert reason(json.dumps({k: v for k, v in VALID.items() if k != name}).encode()) == (
        "missing_field"
    )


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("wrong", [1, 1.5, True, [], {}])
def test_a_text_of_another_type(name: str, wrong: Any) -> None:
    assert reason_of(**{name: wrong}) == "wrong_type"


def test_a_value_of_more_than_a_mebibyte() -> None:
    record = json.dumps(VALID | {"extra": ""})
    fits = json.dumps(VALID | {"extra": "x" * (MAX_VALUE_BYTES - len(record))}).encode()
    assert len(fits) == MAX_VALUE_BYTES == 1_048_576
    assert len(properties(read(fits))["extra"]) == MAX_VALUE_BYTES - len(record)
    assert reason(fits + b" ") == "value_too_large"


# == Boundaries =================================================================================


@pytest.mark.parametrize("name", ["event_type", "user_id"])
def test_names_have_at_most_256_bytes_of_utf8(name: str) -> None:
    for longest in ("a" * 256, "\u00e9" * 128, "\U0001f600" * 64):
        assert getattr(of(**{name: longest}), name) == longest
        assert reason_of(**{name: longest + "a"}) == "too_long"


@pytest.mark.parametrize("name", TEXTS)
def test_texts_have_at_most_8192_characters(name: str) -> None:
    for character in ("a", "\U0001f600"):
        assert getattr(of(**{name: character * 8_192}), name) == character * 8_192
        assert reason_of(**{name: character * 8_193}) == "too_long"


@pytest.mark.parametrize("innermost", ["", "123456789012345678901234567890", "1.5"])
def test_a_value_has_at_most_254_levels(innermost: str) -> None:
    assert properties(read(nested(254, innermost)))
    for levels in (255, 256, 900, 1_000, 1_023, 1_024, 1_025, 5_000):
        assert reason(nested(levels, innermost)) == "nested_too_deep"
    assert reason(nested(1_020).replace(b'"user-1"', b"1" * 30)) == "nested_too_deep"
    assert MAX_DEPTH == 254


def test_refusing_deep_values_keeps_nothing_of_them() -> None:
    deep = nested(100_000)
    tracemalloc.start()
    for _ in range(5):
        reason(deep)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < len(deep)


def test_an_event_may_be_as_far_ahead_as_the_latest_time_and_no_further() -> None:
    assert of(timestamp=LATEST.isoformat()).event_time == LATEST
    assert reason_of(timestamp=(LATEST + MICROSECOND).isoformat()) == "timestamp_out_of_range"


def test_numbers_from_10_to_the_11_up_are_milliseconds() -> None:
    assert of(timestamp=10**11).event_time == datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)
    assert of(FAR_FUTURE, timestamp=10**11 - 1).event_time.year == 5138
    assert of(FAR_FUTURE, timestamp=10**11 - 0.5).event_time.year == 5138


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2024-05-01T12:00:00.123456Z", datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2024-05-01T14:00:00+02:00", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("2024-05-01T06:30:00-05:30", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("2024-05-01T12:00:00", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("2024-05-01 12:00:00.5", datetime(2024, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (1714564800, datetime(2024, 5, 1, 12, tzinfo=UTC)),
        (1714564800.123456, datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        (1714564800123, datetime(2024, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)),
        (1714564800123.456, datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        (-62135596800, datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_timestamps_are_exact_to_the_microsecond(timestamp: Any, expected: datetime) -> None:
    event = of(timestamp=timestamp)
    assert event.event_time == expected
    assert event.event_time.utcoffset() == timedelta(0)


# Doubles tell microseconds apart up to 2^33 seconds: 272 years around 1970.
@given(st.integers(-(2**33) * 10**6, 1_714_564_800 * 10**6))
def test_seconds_with_six_digits_are_exact(microseconds: int) -> None:
    seconds = f"{Decimal(microseconds).scaleb(-6):f}".encode()
    event = read(json.dumps(VALID).encode()[:-1] + b', "timestamp": ' + seconds + b"}")
    assert event.event_time == datetime(1970, 1, 1, tzinfo=UTC) + microseconds * MICROSECOND


@pytest.mark.parametrize("quantity", [1, 1_000_000])
def test_quantities_at_the_bounds(quantity: int) -> None:
    assert of(quantity=quantity).quantity == quantity


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 10**30])
def test_quantities_beyond_the_bounds(quantity: int) -> None:
    assert reason_of(quantity=quantity) == "number_out_of_range"


@pytest.mark.parametrize(
    "price",
    ["0", "0.1", "19.99", "0.0001", "9999999999", "9999999999.9999", "-5.25", "100.00", "1e3"],
)
def test_prices_are_exact(price: str) -> None:
    event = read(json.dumps(VALID).encode()[:-1] + f', "price": {price}}}'.encode())
    assert event.price == Decimal(price)


@pytest.mark.parametrize("price", ["10000000000", "1e10", "-1e10", "0.00001", "1.23456", "1e300"])
def test_prices_with_too_many_digits(price: str) -> None:
    record = json.dumps(VALID).encode()[:-1] + f', "price": {price}}}'.encode()
    assert reason(record) == "number_out_of_range"


@pytest.mark.parametrize(
    "address",
    ["203.0.113.7", "0.0.0.0", "::", "2001:db8::1", "2001:DB8::1", "::ffff:203.0.113.7"],
)
def test_ip_addresses_of_both_kinds(address: str) -> None:
    assert of(ip_address=address).ip_address == address


# == Identity ===================================================================================


def test_an_integer_user_is_the_same_as_its_text() -> None:
    assert of(user_id=42).user_id == of(user_id="42").user_id == "42"
    assert of(user_id=-7).user_id == "-7"


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 + 1, 10**40 + 1])
def test_large_integers_are_exact(number: int) -> None:
    assert of(user_id=number).user_id == str(number)
    assert of(event_id=number).event_id == of(event_id=str(number)).event_id
    assert properties(of(extra=number, more={"deep": [number]})) == {
        "extra": number,
        "more": {"deep": [number]},
    }


def test_an_integer_user_has_at_most_256_digits() -> None:
    assert of(user_id=10**255).user_id == "1" + "0" * 255
    assert reason_of(user_id=10**256) == "too_long"


def test_a_uuid_is_the_event_id_in_lower_case() -> None:
    identifier = "018F3F5E-7B3A-7C11-9A53-0D2F6F3B9C01"
    assert of(event_id=identifier).event_id == identifier.lower()
    assert of(event_id=identifier.lower()).event_id == identifier.lower()


@given(unicode_text.filter(bool))
@example("018f3f5e7b3a7c119a530d2f6f3b9c01")
@example("{018f3f5e-7b3a-7c11-9a53-0d2f6f3b9c01}")
def test_another_event_id_becomes_a_uuid_of_version_5(identifier: str) -> None:
    expected = uuid5(EVENT_NAMESPACE, f"id:{identifier}")
    assert of(event_id=identifier).event_id == str(expected)
    assert expected.version == 5


def test_an_integer_event_id_is_the_same_as_its_text() -> None:
    assert of(event_id=42).event_id == of(event_id="42").event_id
    assert of(event_id=43).event_id != of(event_id=42).event_id


def test_event_ids_are_what_they_always_were() -> None:
    """A record read again has to be recognised by later versions."""
    assert of(event_id="x").event_id == "9e7eb554-edbf-57d3-aa29-e633f26463de"
    assert of(event_id=None).event_id == "25e77016-7133-5f9b-bc26-5591719c057c"


def test_without_event_id_the_record_itself_identifies_the_event() -> None:
    value = json.dumps({k: v for k, v in VALID.items() if k != "event_id"}).encode()
    places = [ORIGIN, ("other", 3, 1042), ("clicks", 4, 1042), ("clicks", 3, 1043)]
    ids = [parse(value, origin=place, latest=LATEST).event_id for place in places]
    ids += [parse(value + b" ", origin=ORIGIN, latest=LATEST).event_id]
    assert len(set(ids)) == len(ids)
    assert read(value).event_id == ids[0]
    assert UUID(ids[0]).version == 5


# == What is kept ===============================================================================


def test_null_is_absent() -> None:
    nothing = dict.fromkeys((*TEXTS, "ip_address", "ip", "device", "success", "price", "quantity"))
    assert of(**nothing) == of()


def test_every_column_has_its_field() -> None:
    fields: dict[str, Any] = {name: f"value of {name}" for name in TEXTS}
    fields |= {"ip_address": "::1", "success": False, "price": 1.5, "quantity": 2}
    event = of(**fields)
    for name in COLUMNS[4:-1]:
        assert getattr(event, name) == (Decimal("1.5") if name == "price" else fields[name])
    assert set(COLUMNS[4:-1]) == fields.keys()
    assert event.properties is None


def test_other_names_of_two_fields() -> None:
    event = of(ip="::1", device="tablet")
    assert (event.ip_address, event.device_type, event.properties) == ("::1", "tablet", None)
    assert of(ip="::1", ip_address=None).ip_address == "::1"


def test_where_both_names_are_given_the_other_is_a_property() -> None:
    event = of(ip="x", ip_address="::1", device=7, device_type="tablet")
    assert (event.ip_address, event.device_type) == ("::1", "tablet")
    assert properties(event) == {"ip": "x", "device": 7}


def test_of_a_key_that_appears_twice_the_last_counts() -> None:
    twice = with_property('1, "user_id": "other", "extra": 2')
    assert read(twice).user_id == "other"
    assert properties(read(twice)) == {"extra": 2}


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert properties(read(with_property(r'"\\u0000"'))) == {"extra": r"\u0000"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | unicode_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode_text, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(unicode_text.map(lambda name: f"_{name}"), json_values, max_size=3),
    st.booleans(),
)
@example({"_": 12345678901234567890123, "_e": "1e9"}, True)
@example({"_": 1e20}, True)
def test_properties_are_kept_exactly(extra: dict[str, Any], escaped: bool) -> None:
    event = read(json.dumps(VALID | extra, ensure_ascii=escaped).encode())
    assert properties(event) == extra
    assert list(map(repr, properties(event).values())) == list(map(repr, extra.values()))


# == Whatever comes =============================================================================


ESCAPED = {r"\t": "\t", r"\n": "\n", r"\r": "\r", r"\\": "\\"}


def uncopied(row: str) -> list[str | None]:
    """The values of a line as COPY reads it."""
    assert "\n" not in row
    assert "\r" not in row
    return [None if text == r"\N" else unescaped(text) for text in row.split("\t")]


def unescaped(text: str) -> str:
    return re.sub(r"\\.?", lambda escape: ESCAPED[escape[0]], text)


def check_storable(event: Event) -> None:
    """An event arrives in PostgreSQL as it is: its line of COPY holds each value, and no NUL."""
    arrived = uncopied(line(event))
    assert arrived == [
        value if value is None or type(value) is str else as_text(value) for value in event
    ]
    text = "".join(value or "" for value in arrived)
    assert "\0" not in text
    text.encode()
    UUID(event.event_id)
    json.loads(event.properties or "{}", parse_constant=pytest.fail)
    assert event.event_time.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["\t", "\n", "\r", "\\", r"\N", r"\.", r"\t", "", '"', "\x7f\x85"])
def test_a_text_arrives_in_the_table_as_it_is(text: str) -> None:
    check_storable(of(page_url=text))
    check_storable(of(page_url=text, referrer=f"a{text}b", extra={text: text}))


def as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def check(value: bytes | None) -> None:
    """Nothing but InvalidEventError is raised, and what is not refused can be stored."""
    try:
        event = read(value, FAR_FUTURE)
    except InvalidEventError as error:
        refused = error
    else:
        check_storable(event)
        return
    assert refused.reason in REASONS
    assert "\0" not in refused.detail
    refused.detail.encode()


@given(st.none() | st.binary())
def test_random_bytes_are_refused_or_become_an_event(value: bytes | None) -> None:
    check(value)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**11, 10**30, 10**308, 10**400, -(10**18), 1e300, 0.00001])
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["\0", "\ud800", "\\N", "\t", "::1", "2024-05-01", "24:00", "9999-12-31"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
fields = st.dictionaries(
    st.sampled_from([*COLUMNS, "timestamp", "ip", "device"]) | st.text(max_size=5), anything
)


@given(anything | fields, st.booleans())
def test_random_json_is_refused_or_becomes_an_event(value: Any, escaped: bool) -> None:
    check(json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass"))


@given(fields, st.booleans())
def test_random_fields_of_a_valid_event(changed: dict[str, Any], escaped: bool) -> None:
    record = json.dumps(VALID | changed, ensure_ascii=escaped)
    check(record.encode("utf-8", "surrogatepass"))


@given(st.data())
def test_a_valid_event_with_some_bytes_changed(data: st.DataObject) -> None:
    value = bytearray(json.dumps(VALID | {"price": 1.5, "extra": [r"\u0000", "1e5"]}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(value))
