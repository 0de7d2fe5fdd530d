"""The records for the topic that the collector makes from the body of a request."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.collector.kafka_records import MAX_EVENT_BYTES
from clickstream.collector.refused_requests import RequestRefused
from clickstream.collector.request_events import (
    MAX_EVENTS,
    ServerFields,
    records_of_body,
)
from clickstream.model.field_names import parse_field_names
from clickstream.model.ip_addresses import IpAddresses
from clickstream.model.reading import NATIVE_READING, Reading

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ADDED = ServerFields.of({"user_agent": "Browser 1"}, {"ip_address": "192.0.2.1"})
NONE_ADDED = ServerFields.of({}, {})


def records(body: bytes | str, added: ServerFields = NONE_ADDED) -> list[Any]:
    return records_of_body(
        body.encode() if isinstance(body, str) else body, added, NATIVE_READING, NOW
    )


def an_event(**fields: Any) -> dict[str, Any]:
    return {"event_type": "click", "timestamp": NOW.isoformat(), "user_id": "v1", **fields}


def refused(body: bytes | str) -> int:
    with pytest.raises(RequestRefused) as raised:
        records(body)
    return raised.value.status


def test_the_key_of_a_record_is_the_visitor() -> None:
    ((key, _),) = records(json.dumps(an_event(user_id=42)))
    assert key == b"42"


def test_the_bytes_of_an_event_are_kept_and_fields_of_the_server_added() -> None:
    sent = b'{ "user_id":"v1",  "event_type":"click", "timestamp":"2026-05-04T12:00:00Z", "n":1.0 }'
    ((_, value),) = records(b" \n" + sent + b"\t", ADDED)
    assert sent[1:-1].strip() in value
    assert json.loads(value) == {
        **json.loads(sent),
        "user_agent": "Browser 1",
        "ip_address": "192.0.2.1",
    }


def test_an_address_is_replaced_and_a_user_agent_is_not() -> None:
    """A server that sends for visitors can name their browsers, but nobody can name an address."""
    sent = an_event(user_agent="Browser 2", ip_address="203.0.113.9")
    ((_, value),) = records(json.dumps(sent), ADDED)
    read = json.loads(value)
    assert (read["user_agent"], read["ip_address"]) == ("Browser 2", "192.0.2.1")


@pytest.mark.parametrize(
    ("kept", "address"), [(IpAddresses.TRUNCATED, b"192.0.2.0"), (IpAddresses.NONE, None)]
)
def test_kafka_gets_no_full_address_if_addresses_are_limited(
    kept: IpAddresses, address: bytes | None
) -> None:
    """Neither that of the client nor one in the event."""
    body = json.dumps(an_event(ip="203.0.113.9", ip_address="203.0.113.9", n=1)).encode()
    ((_, value),) = records_of_body(body, ADDED, Reading(ip_addresses=kept), NOW)
    assert b"203.0.113.9" not in value
    assert b"192.0.2.1" not in value
    assert address is None or address in value
    assert json.loads(value)["n"] == 1


@pytest.mark.parametrize("body", ["[]", " [ ] ", "\ufeff[]"])
def test_an_empty_array_has_no_events(body: str) -> None:
    assert records(body) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=6), st.sampled_from([None, 1]))
def test_each_element_of_an_array_becomes_one_record(values: list[Any], indent: int | None) -> None:
    sent = json.dumps(values, indent=indent)
    assert [json.dumps(json.loads(value)) for _, value in records(sent)] == [
        json.dumps(value) for value in values
    ]


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1]]",
        "[1] 2",
        "nonsense",
        "{'a':1}",
    ],
)
def test_a_body_that_is_no_json_is_refused_with_400(body: str) -> None:
    assert refused(body) == 400


@pytest.mark.parametrize("body", [b"\xff", b"[\xff]", b"\x00\x00\x00\x00\x01{}", b"[" * 100_000])
def test_bytes_that_are_no_json_are_refused_with_400(body: bytes) -> None:
    assert refused(body) == 400


@pytest.mark.parametrize("value", ['"text"', "5", "null", "{}", '{"user_id":"v1"}', "[[]]"])
def test_json_that_is_no_event_is_sent_for_the_consumer_to_reject(value: str) -> None:
    ((_, sent),) = records(value)
    assert sent == (b"[]" if value == "[[]]" else value.encode())


def test_the_visitor_of_what_is_no_event_is_the_key_if_it_can_be_read() -> None:
    assert [key for key, _ in records('[{"user_id":"v1"},{"user_id":{}},7]')] == [
        b"v1",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "timestamp",
    [
        "yesterday",
        {},
        "1970-01-01T00:00:00Z",
        (NOW + NATIVE_READING.max_future + timedelta(microseconds=1)).isoformat(),
    ],
)
def test_a_time_that_the_consumer_would_refuse_is_refused_with_the_time(timestamp: Any) -> None:
    """No event of the array is sent, so the client may give all of them another time."""
    body = json.dumps([an_event(), an_event(timestamp=timestamp)])
    with pytest.raises(RequestRefused) as raised:
        records(body)
    assert (raised.value.status, raised.value.now) == (422, NOW)


def test_the_last_time_that_the_consumer_accepts_is_accepted() -> None:
    latest = NOW + NATIVE_READING.max_future
    assert len(records(json.dumps(an_event(timestamp=latest.isoformat())))) == 1


def test_an_event_of_the_largest_size_is_sent_and_a_larger_one_refused_with_413() -> None:
    event = an_event(page_url="")
    event["page_url"] = "x" * (MAX_EVENT_BYTES - len(json.dumps(event)))
    assert len(records(json.dumps(event))) == 1
    event["page_url"] += "x"
    assert refused(json.dumps(event)) == 413
    assert refused(json.dumps([event])) == 413


def test_an_array_of_too_many_events_is_refused_with_413() -> None:
    assert len(records("[" + "1," * (MAX_EVENTS - 1) + "1]")) == MAX_EVENTS
    assert refused("[" + "1," * MAX_EVENTS + "1]") == 413


TIMES = [
    NOW.isoformat(),
    "2026-05-04T11:59:59.123Z",
    "2026-05-04t12:00:00z",
    "2026-05-04 12:00:00+02:00",
    "2026-05-04T12:00:00",
    "2026-05-04T23:59:60Z",
    "2026-05-04T24:00:00Z",
    "1989-12-31T23:59:59.9999999Z",
    "1990-01-01T00:00:00Z",
    "2026-05-04T13:00:00.0000004Z",
    "2026-05-04T13:00:00.000001Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    1777896000,
    None,
]
NAMES = ["v", "v" * 300, "", " ", "\u00a0", "\0", "\U0001f600", 42, None, {}]


def outcome(body: bytes, reading: Reading) -> Any:
    try:
        return records_of_body(body, ADDED, reading, NOW)
    except RequestRefused as refusal:
        return refusal.status


CASES = [
    *({"timestamp": time} for time in TIMES),
    *({field: name} for name in NAMES for field in ("user_id", "event_type")),
]
# Bytes inside a text that the strict form does not read.
INSIDE = [
    b"",
    b"\xff",
    b"\x00",
    b"\n",
    b"\\ud800",
    b"\\q",
    b'"}',
    b'","user_id":"v2',
    b'","timestamp":"0',
]


SENT = [b"%b", b"[%b]", b"\xef\xbb\xbf [%b\n,%b ]\t"]


@pytest.mark.parametrize("fields", CASES)
def test_events_in_the_strict_form_are_read_as_all_others_are(fields: dict[str, Any]) -> None:
    """With a list in EVENT_FIELDS, events are read one by one and field by field."""
    one_by_one = Reading(field_names=parse_field_names("user_id=user_id"))
    event = json.dumps(an_event(**fields, page_url="?", numbers=[1.0, 1e5])).encode()
    for sent, inside in product(SENT, INSIDE):
        body = sent.replace(b"%b", event.replace(b"?", inside))
        assert outcome(body, NATIVE_READING) == outcome(body, one_by_one)
