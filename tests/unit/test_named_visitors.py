"""Visitors that a record names, in any form of JSON and in bytes that are not JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.field_names import NATIVE_FIELD_NAMES, parse_field_names
from clickstream.model.named_visitors import names_any, visitors_of_key, visitors_of_value

ALICE = "alice@example.com"
# Any text that can be an id: without NUL and lone surrogates.
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
WORDS = st.text("abnuser_id1", min_size=1)
SHORT_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def names(visitor: str, value: bytes | None, key: bytes | None = None) -> bool:
    return names_any(key, value, {visitor}, NATIVE_FIELD_NAMES)


@st.composite
def json_strings(draw: st.DrawFn, text: str) -> str:
    """Return a text as a JSON string, with each character in one of its forms."""
    return '"' + "".join(draw(st.sampled_from(forms(each))) for each in text) + '"'


def forms(character: str) -> list[str]:
    """Return the forms that JSON has for a character."""
    pair = character.encode("utf-16-be").hex()
    units = [pair[start : start + 4] for start in range(0, len(pair), 4)]
    escaped = ["".join(f"\\u{unit}" for unit in units), "".join(f"\\u{u.upper()}" for u in units)]
    if character in '"\\/':
        escaped.append("\\" + character)
    if character in SHORT_ESCAPES:
        escaped.append(SHORT_ESCAPES[character])
    return escaped if character in '"\\' or character < " " else [character, *escaped]


@given(st.data(), IDS)
def test_an_id_is_found_in_every_form_that_json_has_for_it(
    data: st.DataObject, visitor: str
) -> None:
    text = data.draw(json_strings(visitor))
    event = f'{{"user_id": {text}, "timestamp": "never"}}'
    twice = json.dumps(event, ensure_ascii=data.draw(st.booleans()))
    for whole in (event, f"[{event}]", twice, f'{{"batch": [{{"a": {event}}}]}}'):
        assert visitors_of_value(whole.encode(), NATIVE_FIELD_NAMES) == {visitor}
        assert names(visitor, whole.encode())
    end = len('"timestamp": "never"}')
    assert names(visitor, event[: -end + 3].encode())
    assert names(visitor, f'{{"userId": {text}}}'.encode())
    assert names(visitor, f'{{"user_id": "another", "email": {text}}}'.encode())
    assert visitor in visitors_of_key(text.encode())
    assert visitor in visitors_of_key(visitor.encode())


@given(WORDS, WORDS, st.sampled_from(["user_id", "email", "page_url"]))
def test_a_record_of_another_visitor_is_not_named_by_a_part_of_a_text(
    visitor: str, other: str, field: str
) -> None:
    event = {field: f"x{visitor}x", "user_id": f"{other}x{visitor}", "properties": {"n": 1.5}}
    assert names(visitor, json.dumps(event).encode()) is (visitor in {"n", *event})


@pytest.mark.parametrize("number", ["42", "42.0", "4.2e1", "420E-1", '"42"'])
def test_an_integer_is_the_visitor_with_its_digits(number: str) -> None:
    assert visitors_of_key(number.encode()) >= {"42"}
    assert visitors_of_value(f'{{"user_id": {number}}}'.encode(), NATIVE_FIELD_NAMES) == {"42"}


@pytest.mark.parametrize(
    ("value", "is_named"),
    [
        (b'{"user_id": 42, "timest', True),
        (b'{"user_id": 42.0, "timest', True),
        (b'{"page_url": "/visitor/42"}', True),
        (b"visitor 42. Next", True),
        (b'{"user_id": "another", "quantity": 42}', False),
        (b'{"user_id": "another", "page_url": "/visitor/42"}', False),
        (b'{"timestamp": "2042-06-02T10:42:00Z", "price": 42.5}', False),
        (b'{"user_id": 421, "timest', False),
        (b"a42 42b 4.42 12:42 42-07", False),
        (b"\0\0\0\0\7x42y", True),
    ],
)
def test_a_number_names_a_visitor_only_as_a_whole(value: bytes, is_named: bool) -> None:
    assert names("42", value) is is_named


@pytest.mark.parametrize(
    ("value", "is_named"),
    [
        (ALICE.encode(), True),
        (f"user={ALICE};page=/".encode(), True),
        (b"\0\0\0\0\7H" + ALICE.encode() + b"H", True),
        (f"x{ALICE}".encode(), False),
        (f"{ALICE}x".encode(), False),
        (None, False),
        (b"", False),
        (b"[" * 100_000, False),
        (b'{"user_id": ' * 2_000 + b'"' + ALICE.encode(), True),
    ],
)
def test_bytes_that_are_not_json_are_searched_for_the_id(
    value: bytes | None, is_named: bool
) -> None:
    assert names(ALICE, value) is is_named


def test_a_text_that_is_not_utf8_is_searched_as_latin_1() -> None:
    assert names("José", '{"user_id": "José"}'.encode("latin-1"))


def test_the_names_of_event_fields_count() -> None:
    reading = parse_field_names("user_id=visitor.id|anonymousId")
    for event in ({"visitor": {"id": 42}}, {"anonymousId": "42", "user_id": "native"}):
        assert visitors_of_value(json.dumps(event).encode(), reading) == {"42"}


@given(st.binary(max_size=50), st.binary(max_size=50), IDS)
def test_no_bytes_make_the_search_fail(key: bytes, value: bytes, visitor: str) -> None:
    found: Any = names(visitor, value, key)
    assert found in {True, False}
    assert names(visitor, value, visitor.encode())
