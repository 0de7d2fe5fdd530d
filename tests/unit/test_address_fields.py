"""IP_ADDRESSES: what remains of an address in an event and in the value of a rejected record."""

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from clickstream.errors import UsageError
from clickstream.model.events import Event, InvalidEventError
from clickstream.model.field_names import parse_field_names
from clickstream.model.ip_addresses import IpAddresses, truncate_address
from clickstream.model.parse import parse
from clickstream.model.reading import NATIVE_READING, Reading
from clickstream.model.rejected_values import kept_value
from clickstream.reading_settings import reading_of
from clickstream.settings import Settings
from tests.unit.parsing import LATEST, ORIGIN, VALID, properties, read, record, refusal
from tests.unit.storable_event import check_storable
from tests.unit.test_any_record import OPTIONAL_JSON, any_fields, encoded

NAMES = parse_field_names(
    "ip_address=client.ip|context.ip|ip.address; country=ip.country; user_id=user_id|id"
)
FULL = Reading(field_names=NAMES)
TRUNCATED = Reading(field_names=NAMES, ip_addresses=IpAddresses.TRUNCATED)
NONE = Reading(field_names=NAMES, ip_addresses=IpAddresses.NONE)


def reread(value: bytes, reading: Reading) -> Event:
    """Return the event that a retry reads in the kept value of a rejected record."""
    kept = kept_value(value, ORIGIN, reading)
    return parse(
        kept.value,
        origin=ORIGIN,
        latest=LATEST,
        reading=reading,
        derived_event_id=kept.derived_event_id,
    )


# == One address ================================================================================


@pytest.mark.parametrize(
    ("address", "truncated"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("255.255.255.255", "255.255.255.0"),
        ("2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::"),
        ("2001:DB8::1", "2001:db8::"),
        ("::1", "::"),
    ],
)
def test_an_address_becomes_its_network(address: str, truncated: str) -> None:
    assert truncate_address(address) == truncated
    reading = replace(NATIVE_READING, ip_addresses=IpAddresses.TRUNCATED)
    strict, lenient = record({"ip_address": address}), record({"ip_address": f" {address}"})
    assert [read(each, reading=reading).ip_address for each in (strict, lenient)] == [truncated] * 2
    nothing = replace(reading, ip_addresses=IpAddresses.NONE)
    assert [read(each, reading=nothing).ip_address for each in (strict, lenient)] == [None] * 2


@given(st.ip_addresses())
def test_a_truncated_address_is_the_network_of_24_or_48_bits(
    address: IPv4Address | IPv6Address,
) -> None:
    length = 24 if address.version == 4 else 48
    network = ip_network((address, length), strict=False)
    assert ip_address(truncate_address(str(address))) == network.network_address


# == Fields of a record =========================================================================


@pytest.mark.parametrize(
    ("sent", "column", "kept"),
    [
        ("203.0.113.77:8080", "203.0.113.0", None),
        ("::ffff:203.0.113.77", "203.0.113.0", None),
        ("[fe80::1%eth0]:443", "fe80::", None),
        ("203.0.113.77, 198.51.100.9", "203.0.113.0", "203.0.113.0,198.51.100.0"),
        ("unknown, [2001:db8:1:2::9]:1", "2001:db8:1::", None),
        (",,x", None, "unknown"),
        ("for=203.0.113.77", None, "unknown"),
        (3405803853, None, "unknown"),
        (["203.0.113.77"], None, "unknown"),
        ({"v4": "203.0.113.77"}, None, "unknown"),
    ],
)
def test_every_form_of_an_address_is_truncated(sent: Any, column: str | None, kept: Any) -> None:
    for name in ("ip_address", "ip"):
        event = read(record({name: sent}), reading=TRUNCATED)
        assert (event.ip_address, properties(event).get(name)) == (column, kept)
        assert (event.repaired is None) is (kept is None)
        nothing = read(record({name: sent, "extra": 1}), reading=NONE)
        assert (nothing.ip_address, nothing.repaired) == (None, None)
        assert properties(nothing) == {"extra": 1}


def test_every_name_of_the_address_is_covered_and_nothing_else() -> None:
    """Also names whose value is not the one that was taken, and values that were copied."""
    sent = {
        "client.ip": "203.0.113.1",
        "context": {"ip": "203.0.113.2", "page": "203.0.113.3"},
        "ip_address": "203.0.113.4",
        "ip": {"address": "203.0.113.5", "country": "NO", "other": "203.0.113.6"},
        "page_url": "https://203.0.113.7/",
        "id": "203.0.113.8",
    }
    event = read(record(sent), reading=TRUNCATED)
    assert (event.ip_address, event.country) == ("203.0.113.0", "NO")
    assert event.page_url == "https://203.0.113.7/"
    assert properties(event) == {
        "context": {"ip": "203.0.113.0", "page": "203.0.113.3"},
        "ip_address": "203.0.113.0",
        "ip": {"address": "203.0.113.0", "country": "NO"},
        "id": "203.0.113.8",
    }
    nothing = read(record(sent), reading=NONE)
    assert (nothing.ip_address, nothing.country) == (None, "NO")
    assert properties(nothing) == {
        "context": {"page": "203.0.113.3"}, "ip": {"country": "NO"}, "id": "203.0.113.8",
    }  # fmt: skip


def test_a_truncation_is_no_repair() -> None:
    event = read(record({"ip_address": "203.0.113.77"}), reading=TRUNCATED)
    assert (event.repaired, event.properties) == (None, None)


def test_an_address_that_is_another_field_too_is_refused_with_the_names() -> None:
    fields = {"EVENT_FIELDS": "user_id=uid|ip; country=geo.ip"}
    assert reading_of(Settings.from_mapping(fields)).ip_addresses is IpAddresses.FULL
    with pytest.raises(UsageError, match=r"IP_ADDRESSES=truncated .*user_id from 'ip'"):
        reading_of(Settings.from_mapping(fields | {"IP_ADDRESSES": "truncated"}))


# == Any record: no full address, and the same event otherwise ==================================

# The last group of each address occurs nowhere else in a record.
ADDRESSES = st.sampled_from(["203.0.113.177", "2001:db8:1:2:3:4:5:beef", "::ffff:198.51.100.177"])
MARKS = ("177", "beef")
FORMS = st.sampled_from(["{}", " {}", "{}:80", "[{}]:80", "{}%eth0", "x, {}", "{}, {}", "for={};a"])
TEXTS = st.builds(lambda form, address: form.replace("{}", address), FORMS, ADDRESSES)
VALUES = st.recursive(
    TEXTS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(TEXTS | st.sampled_from(["a", "address"]), inner, max_size=2)
    ),
    max_leaves=3,
)
PLACES = st.dictionaries(
    st.sampled_from(["ip", "ip_address", "client.ip", "client", "context"]), VALUES, min_size=1
).map(lambda places: {k: {"ip": v} if k in ("client", "context") else v for k, v in places.items()})


@given(PLACES, PLACES, st.booleans(), st.sampled_from([TRUNCATED, NONE]))
def test_no_full_address_remains_in_a_row_or_a_rejected_value(
    places: dict[str, Any], twice: dict[str, Any], escaped: bool, reading: Reading
) -> None:
    """Also of a key that appears twice, and of addresses that are written with escapes."""
    text = f"{json.dumps(places)[:-1]}, {json.dumps(twice | VALID)[1:]}"
    if escaped:
        text = text.replace(".", r"\u002e").replace(r"\u002eip", ".ip")
    event = read(text.encode(), reading=reading)
    shown = (event.properties or "", event.ip_address or "")
    kept = kept_value(text.encode(), ORIGIN, reading).value or b""
    for mark in MARKS:
        assert mark not in "".join(shown)
        assert mark not in json.dumps(json.loads(kept))


@examples(max_examples=examples().max_examples // 2)
@given(st.data(), st.sampled_from([TRUNCATED, NONE]))
def test_a_retry_of_a_rejected_value_reads_the_event_that_was_sent(
    data: st.DataObject, reading: Reading
) -> None:
    """Its id is derived from the bytes as they were sent, whatever else is in the record."""
    fields = {**data.draw(OPTIONAL_JSON), **VALID, "event_id": data.draw(st.sampled_from(["", 1]))}
    value = encoded(fields | data.draw(PLACES), escaped=True)
    sent = read(value, reading=reading)
    assert reread(value, reading) == sent
    assert sent.event_id == read(value, reading=FULL).event_id
    check_storable(sent)


@examples(max_examples=examples().max_examples // 2)
@given(any_fields, st.sampled_from([TRUNCATED, NONE]))
def test_a_retry_of_any_rejected_object_gives_the_same_reason(
    fields: dict[str, Any], reading: Reading
) -> None:
    value = encoded(fields, escaped=True)
    assert outcome_of(read, value, reading) == outcome_of(reread, value, reading)


def outcome_of(
    reader: Callable[..., Event], value: bytes, reading: Reading
) -> Event | tuple[str, str]:
    """Return the event of a record, or the reason and detail of its rejection."""
    try:
        return reader(value, reading=reading)
    except InvalidEventError as error:
        return error.reason, error.detail


# == Values that are no JSON object =============================================================


@pytest.mark.parametrize(
    "value", [b"GET / 203.0.113.77", b"[{}]", b"\xff", b"\0\0\0\0\1Obj", b"[" * 300, b'{"a":' * 300]
)
def test_a_rejected_value_that_cannot_be_read_is_kept_only_with_full_addresses(
    value: bytes,
) -> None:
    refusal(value)
    assert kept_value(value, ORIGIN, FULL) == (value, None, "")
    for reading in (TRUNCATED, NONE):
        note = f" Its value is not kept, by IP_ADDRESSES={reading.ip_addresses.value}."
        assert kept_value(value, ORIGIN, reading) == (None, None, note)
    assert kept_value(None, ORIGIN, TRUNCATED) == (None, None, "")


def test_a_rejected_value_of_a_schema_registry_keeps_its_frame() -> None:
    value = (
        b'\0\0\0\0\7{"ip": "203.0.113.77", "price": 19.990, "big": 1e999, "s": "\\ud800\\u0000"}'
    )
    kept = b'\0\0\0\0\7{"ip":"203.0.113.0","price":19.990,"big":1e999,"s":"\\ud800\\u0000"}'
    assert kept_value(value, ORIGIN, TRUNCATED).value == kept
