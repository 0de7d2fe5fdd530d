"""Turns the body of a request into the records that are sent to the topic.

The bytes of an event are kept as they were sent; fields that the server knows are added to them.
Only if IP_ADDRESSES limits addresses, the event is written again.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import orjson

from clickstream.collector.kafka_records import MAX_EVENT_BYTES, KafkaRecord
from clickstream.collector.refused_requests import RequestRefused
from clickstream.collector.strict_events import strict_records
from clickstream.model.events import InvalidEventError
from clickstream.model.ip_addresses import IpAddresses
from clickstream.model.json_records import BYTE_ORDER_MARK, is_framed, read_json
from clickstream.model.parse import parse
from clickstream.model.reading import Reading
from clickstream.model.rejected_values import kept_value
from clickstream.model.required_fields import read_user_id
from clickstream.model.timestamps import TimeLimits, read_time

# More would keep the server from other requests for too long.
MAX_EVENTS = 5_000
BLANKS = b" \t\r\n"
# Reasons of the parser for bytes that are not JSON.
NOT_JSON = ("not_json", "not_utf8", "schema_registry_not_json")
# Topic, partition and offset are needed only to derive an id, and the id is not used here.
NO_ORIGIN = ("", 0, 0)
# Numbers stay text: this decoder only finds where each event of an array ends.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_match_blanks = re.compile(r"[ \t\r\n]*").match


class ServerFields(NamedTuple):
    """The fields that the server adds to each event of a request, each as JSON without braces.

    if_absent: do not replace fields that the client sent. always: replace them.
    """

    if_absent: bytes
    always: bytes

    @classmethod
    def of(cls, if_absent: Mapping[str, str], always: Mapping[str, str]) -> "ServerFields":
        """Return the fields in these mappings."""
        return cls(orjson.dumps(if_absent)[1:-1], orjson.dumps(always)[1:-1])


def records_of_body(
    body: bytes, added: ServerFields, reading: Reading, now: datetime
) -> list[KafkaRecord]:
    """Return a record for each event of a body: one JSON object, or an array of them.

    JSON that is no event becomes a record too, and the consumer rejects it with the reason.
    Raises RequestRefused, for all events of the body: 400 if it is not JSON, 413 if an event is too
    large, 422 if the consumer would refuse the time of an event.
    """
    limits = TimeLimits(reading.min_event_time, now + reading.max_future, reading.max_future)
    text = body.removeprefix(BYTE_ORDER_MARK).strip(BLANKS)
    if not reading.field_names.text and reading.ip_addresses is IpAddresses.FULL:
        before = b"{" + added.if_absent + b"," if added.if_absent else b"{"
        after = b"," + added.always + b"}" if added.always else b"}"
        records = strict_records(text, limits, before, after)
        if records is not None and len(records) <= MAX_EVENTS:
            return records
    return [_record(event, added, reading, limits, now) for event in _split(text)]


def _split(text: bytes) -> Iterator[bytes]:
    """Yield the bytes of each event. Raises RequestRefused if an array is not JSON."""
    if not text.startswith(b"["):
        yield text
        return
    try:
        for number, element in enumerate(_elements(text.decode())):
            if number == MAX_EVENTS:
                raise RequestRefused(
                    413, f"the array has more than {MAX_EVENTS} events; send fewer at once"
                )
            yield element
    except (ValueError, RecursionError):
        raise _not_json() from None


def _elements(text: str) -> Iterator[bytes]:
    """Yield the bytes of each element of a JSON array. Raises ValueError if it is not one."""
    position = _after_blanks(text, 1)
    last = len(text) - 1
    if position == last and text[last] == "]":
        return
    while True:
        _, end = _DECODER.raw_decode(text, position)
        yield text[position:end].encode()
        position = _after_blanks(text, end)
        if position == last and text[last] == "]":
            return
        if text[position : position + 1] != ",":
            raise ValueError(position)
        position = _after_blanks(text, position + 1)


def _record(
    event: bytes, added: ServerFields, reading: Reading, limits: TimeLimits, now: datetime
) -> KafkaRecord:
    if len(event) > MAX_EVENT_BYTES:
        raise RequestRefused(413, f"an event has more than {MAX_EVENT_BYTES} bytes")
    if is_framed(event):  # a schema registry's frame is read only from Kafka
        raise _not_json()
    value = _with_fields(event, added)
    # IP_ADDRESSES also applies to records in Kafka. The consumer rejects a value that is no object.
    value = kept_value(value, NO_ORIGIN, reading).value or value
    try:
        user_id = parse(value, origin=NO_ORIGIN, latest=limits.latest, reading=reading).user_id
    except InvalidEventError as error:
        if error.reason in NOT_JSON:
            raise _not_json() from None
        _refuse_time(value, reading, limits, now)
        return _readable_key(value, reading), value
    return user_id.encode(), value


def _with_fields(event: bytes, added: ServerFields) -> bytes:
    """Return the event with more fields in its object; any other value is returned unchanged.

    Of a key that appears twice the last one counts, so the order decides.
    """
    if not (event.startswith(b"{") and event.endswith(b"}")):
        return event
    fields = event[1:-1] if event[1:-1].strip(BLANKS) else b""
    return b"{" + b",".join(filter(None, (added.if_absent, fields, added.always))) + b"}"


def _refuse_time(value: bytes, reading: Reading, limits: TimeLimits, now: datetime) -> None:
    """Raise RequestRefused if the record has a timestamp and the consumer would refuse it."""
    try:
        timestamp = reading.field_names.select(read_json(value).fields).values.get("timestamp")
    except InvalidEventError:
        return
    if timestamp is None:
        return
    try:
        refusal = limits.refusal(read_time(timestamp, limits))
    except InvalidEventError as error:
        refusal = error
    if refusal:
        raise RequestRefused(
            422,
            "the timestamp of an event is no time, before MIN_EVENT_TIME or too far in the future",
            now=now,
        )


def _readable_key(value: bytes, reading: Reading) -> bytes | None:
    """Return the key of a record that is no event: its visitor, if that can be read."""
    try:
        selected = reading.field_names.select(read_json(value).fields)
        return read_user_id(selected).encode() if "user_id" in selected.values else None
    except InvalidEventError:
        return None


def _after_blanks(text: str, position: int) -> int:
    found = _match_blanks(text, position)
    return found.end() if found else position


def _not_json() -> RequestRefused:
    return RequestRefused(
        400, "the body is not JSON: send one event as an object, or an array of events"
    )
