"""Renaming gives fields and types our names, and loses nothing of what was sent."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.field_names import parse_event_types, parse_field_names
from clickstream.model.parse import parse
from clickstream.model.reading import NATIVE_READING, Reading
from clickstream.sending.native_json import Renaming

NAMES = "user_id=userId|anonymousId; event_type=event; page_url=context.page.url; timestamp=ts"
TYPES = "page_view=$pageview|view; purchase=transaction"
LATEST = datetime(2030, 1, 1, tzinfo=UTC)


def renamed(value: bytes, names: str = NAMES, types: str = TYPES) -> bytes:
    return Renaming(parse_field_names(names), parse_event_types(types)).apply(value)


def test_fields_and_types_get_native_names_and_the_rest_stays() -> None:
    page = {"page": {"url": "https://shop.example/", "title": "Home"}}
    sent = {"anonymousId": "a", "event": "$pageview", "ts": 1735689600.5, "context": page, "x": [1]}
    assert json.loads(renamed(json.dumps(sent).encode())) == {
        "user_id": "a",
        "event_type": "page_view",
        "original_event_type": "$pageview",
        "timestamp": 1735689600.5,
        "page_url": "https://shop.example/",
        "context": page,
        "x": [1],
    }


def test_a_value_whose_name_another_field_gets_is_kept_under_another_name() -> None:
    sent = b'{"userId": "a", "user_id": "b", "original_user_id": "c"}'
    assert json.loads(renamed(sent)) == {
        "user_id": "a",
        "original_user_id": "b",
        "original_original_user_id": "c",
    }


@pytest.mark.parametrize(
    "value", [b"not json", b"[{}]", b"7", b"\xff", b"", b'{"userId":"' + b"x" * (1 << 20) + b'"}']
)
def test_a_value_that_is_no_object_of_at_most_1_mib_stays_as_it_is(value: bytes) -> None:
    assert renamed(value) == value


@pytest.mark.parametrize(
    "number",
    ["12345678901234567890.0", "19.990000000000000213", "1e400", "-1E-400", "NaN", "1" * 999],
)
def test_numbers_keep_their_text(number: str) -> None:
    assert f'"x":{number}' in renamed(f'{{"userId": 1, "x": {number}}}'.encode()).decode()


def test_texts_without_utf8_are_escaped() -> None:
    assert renamed(b'{"userId": "\\ud83d", "x": "\\ud83d\\ude00"}') == (
        '{"user_id":"\\ud83d","x":"\N{GRINNING FACE}"}'.encode()
    )


KEYS = ("userId", "anonymousId", "event", "ts", "title", "price", "ip", "quantity")
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(
    fields=st.dictionaries(st.sampled_from(KEYS), VALUES),
    user=st.integers() | st.text(st.characters(codec="ascii", categories=["L"]), min_size=1),
    event=st.sampled_from(("$pageview", "view", "transaction", "other")),
)
def test_the_consumer_reads_a_renamed_event_as_it_reads_the_one_sent_with_the_settings(
    fields: dict[str, Any], user: Any, event: str
) -> None:
    sent = {**fields, "userId": user, "event": event, "ts": 1735689600, "event_id": "x"}
    value = json.dumps(sent).encode()
    names, types = parse_field_names(NAMES), parse_event_types(TYPES)
    reading = Reading(names, types, NATIVE_READING.min_event_time, timedelta(hours=1))
    expected = parse(value, origin=("t", 0, 0), latest=LATEST, reading=reading)
    found = parse(Renaming(names, types).apply(value), origin=("t", 0, 0), latest=LATEST)
    assert found._replace(properties=None) == expected._replace(properties=None)
