"""Records that cannot become events, and the reason for which each is rejected."""

import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from clickstream.model.events import (
    MAX_LEVELS,
    MAX_VALUE_BYTES,
)
from tests.unit.parsing import (
    VALID,
    event_with,
    properties,
    read,
    record,
    refusal,
    with_json,
)

STORED_BY_0_2 = Path(__file__).parents[1] / "data" / "stored_by_0.2.ndjson.gz"


def nested(levels: int, innermost: str = "") -> bytes:
    """Return a valid record of this many levels, the object itself the first."""
    return with_json("extra", "[" * (levels - 1) + innermost + "]" * (levels - 1))


# == Records that are no JSON object ============================================================


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no_value"),
        (b"\xff{}", "not_utf8"),
        (b'{"a": "\xed\xa0\x80"}', "not_utf8"),
        (json.dumps(VALID).encode("utf-16"), "not_utf8"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"{'a': 1}", "not_json"),
        (b'{"a": 1} {"a": 2}', "not_json"),
        (b'{"a": "\n"}', "not_json"),
        (b"[" * 100_000, "nested_too_deep"),
        (b"null", "not_an_object"),
        (b"7", "not_an_object"),
    ],
)
def test_a_record_that_is_no_json_object_is_rejected(value: bytes | None, reason: str) -> None:
    assert refusal(value).reason == reason


def test_an_array_is_rejected_with_the_advice_to_send_one_event_per_record() -> None:
    error = refusal(json.dumps([VALID, VALID]).encode())
    assert error.reason == "not_an_object"
    assert error.detail == "The value is an array: send one event per record."


def test_json_inside_a_json_string_is_named() -> None:
    error = refusal(json.dumps(json.dumps(VALID)).encode())
    assert error.reason == "not_an_object"
    assert "JSON inside a JSON string" in error.detail
    assert "JSON inside" not in refusal(b'"text"').detail


def test_a_value_has_at_most_a_mebibyte() -> None:
    empty = record({"extra": ""})
    fits = record({"extra": "x" * (MAX_VALUE_BYTES - len(empty))})
    assert len(fits) == MAX_VALUE_BYTES == 1_048_576
    assert len(properties(read(fits))["extra"]) == MAX_VALUE_BYTES - len(empty)
    assert refusal(fits + b" ").reason == "value_too_large"


@pytest.mark.parametrize("innermost", ["", "123456789012345678901234567890", "1.5", r'"\u0000"'])
def test_a_value_has_at_most_254_levels(innermost: str) -> None:
    assert properties(read(nested(254, innermost)))
    for levels in (255, 256, 900, 1_000, 1_023, 1_024, 1_025, 5_000):
        assert refusal(nested(levels, innermost)).reason == "nested_too_deep"
    assert refusal(nested(1_020).replace(b'"user-1"', b"1" * 30)).reason == "nested_too_deep"
    assert MAX_LEVELS == 254


def test_levels_of_sibling_values_do_not_add_up() -> None:
    wide = json.dumps([[{}] * 300] * 3)
    assert properties(read(with_json("extra", wide))) == {"extra": json.loads(wide)}


def test_rejecting_deep_values_keeps_no_memory() -> None:
    deep = nested(100_000)
    tracemalloc.start()
    for _ in range(5):
        refusal(deep)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < len(deep)


# == Frames and byte order marks ================================================================

FRAME = b"\0\0\0\1\2"  # schema id 258


def test_the_frame_of_a_schema_registry_is_skipped() -> None:
    body = record({"event_id": None})
    assert read(FRAME + body) == read(body)
    assert read(FRAME + record({})) == event_with()


def test_a_framed_record_that_is_no_json_names_the_schema_id() -> None:
    for body in (b"\x02\x06abc", b"", b"\xff\xfe", b"{"):
        error = refusal(FRAME + body)
        assert error.reason == "schema_registry_not_json"
        assert "schema id 258" in error.detail


def test_a_framed_record_that_is_json_is_rejected_for_its_own_reason() -> None:
    assert refusal(FRAME + b"[]").reason == "not_an_object"
    assert refusal(FRAME + b"{}").reason == "missing_field"


def test_byte_0_alone_is_no_frame() -> None:
    for value in (b"\0", b"\0\0\0\0", b"\1\0\0\0\0" + record({})):
        assert refusal(value).reason == "not_json"


def test_a_byte_order_mark_is_skipped() -> None:
    assert read(b"\xef\xbb\xbf" + record({})) == event_with()
    assert read(FRAME + b"\xef\xbb\xbf" + record({})) == event_with()


# == Required fields ============================================================================

UNUSABLE_TYPES: list[Any] = [7, 1.5, True, [], {}]
UNUSABLE_USERS: list[Any] = [4.5, True, ["u"], {"id": 1}]
UNUSABLE_TIMES: list[Any] = [True, {}, [1]]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        *(("event_type", value, "missing_field") for value in (None, "", float("nan"))),
        *(("event_type", value, "wrong_type") for value in UNUSABLE_TYPES),
        *(("event_type", value, "bad_text") for value in ("\0", "a\0", "\ud83d")),
        *(("user_id", value, "missing_field") for value in (None, "", float("nan"))),
        *(("user_id", value, "missing_field") for value in (" ", "\t \n", "\u00a0")),
        *(("user_id", value, "wrong_type") for value in UNUSABLE_USERS),
        *(("user_id", value, "bad_text") for value in ("\0", "a\0", "\ud83d", "\udfff")),
        *(("timestamp", value, "missing_field") for value in (None, "", float("inf"))),
        *(("timestamp", value, "wrong_type") for value in UNUSABLE_TIMES),
    ],
)
def test_a_required_field_that_is_missing_or_unusable_rejects(
    field: str, value: Any, reason: str
) -> None:
    assert refusal(record({field: value})).reason == reason


@pytest.mark.parametrize("field", ["event_type", "user_id"])
def test_event_type_and_user_id_have_at_most_256_bytes_of_utf8(field: str) -> None:
    for longest in ("a" * 256, "\u00e9" * 128, "\U0001f600" * 64):
        assert getattr(event_with(**{field: longest}), field) == longest
        assert refusal(record({field: longest + "a"})).reason == "too_long"


def test_all_missing_fields_are_named_at_once_with_the_fields_that_are_present() -> None:
    error = refusal(b'{"timestamp": 1795168800, "visitorid": 1, "event": "view"}')
    assert error.detail == (
        "The fields event_type and user_id are missing (there are: visitorid, event, timestamp); "
        "the setting EVENT_FIELDS makes the consumer read fields of other names."
    )
    assert "field user_id is missing (" in refusal(record({"user_id": " "})).detail
    assert "event_type, timestamp and user_id are missing" in refusal(b"{}").detail


def test_up_to_ten_of_the_fields_that_are_present_are_named() -> None:
    names = [f"f{number}" for number in range(12)]
    detail = refusal(json.dumps(dict.fromkeys(names, 1)).encode()).detail
    assert "(there are: f0, f1, f2, f3, f4, f5, f6, f7, f8, f9 and 2 more)" in detail


def test_long_and_unstorable_names_are_cut_and_escaped_in_the_detail() -> None:
    error = refusal(json.dumps({"a\0\ud800": 1, "x" * 100_000: 2}).encode())
    assert len(error.detail) < 500
