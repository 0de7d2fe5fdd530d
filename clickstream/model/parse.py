"""Parsing the bytes of a record into an event, or into the one error that names the reason.

A record in the strict form is read in few steps (strict_form.py). Any other record is read field by
field, and a value that cannot be stored as it was sent is repaired. Only event_type, timestamp and
user_id can reject a record. No later step checks an event again: it has the types and limits of the
tables.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from clickstream.model.address_fields import limit_addresses
from clickstream.model.amounts import read_engaged_ms, read_price, read_quantity
from clickstream.model.booleans import read_boolean
from clickstream.model.event_ids import event_id_of_record, read_event_id
from clickstream.model.events import (
    TEXT_FIELDS,
    Event,
)
from clickstream.model.field_names import SelectedFields
from clickstream.model.ip_addresses import read_address
from clickstream.model.json_records import read_json, write_json
from clickstream.model.reading import NATIVE_READING, Reading
from clickstream.model.repairs import Repairs
from clickstream.model.required_fields import (
    is_blank,
    missing_fields,
    read_event_type,
    read_user_id,
    refuse_missing,
)
from clickstream.model.strict_form import read_strict_form
from clickstream.model.texts import read_text
from clickstream.model.timestamps import TimeLimits, read_time

# The readers of optional fields. Each takes a JSON value that is not null, and returns the value
# of the column, and True if it differs from the value that was sent.
OPTIONAL_FIELDS: dict[str, Callable[[Any], tuple[Any, bool]]] = {
    **dict.fromkeys(TEXT_FIELDS, read_text),
    "ip_address": read_address,
    "success": read_boolean,
    "price": read_price,
    "quantity": read_quantity,
    "engaged_ms": read_engaged_ms,
}


def parse(
    value: bytes | None,
    *,
    origin: tuple[str, int, int],
    latest: datetime,
    reading: Reading = NATIVE_READING,
    derived_event_id: str | None = None,
) -> Event:
    """Return the event in the value of a record.

    origin: topic, partition and offset. latest: the last event time accepted (aware UTC), which
    is reading.max_future ahead of now. derived_event_id: for an event without an id, if the value
    is not the one that was sent (rejected_values.py); None to derive it from the value.
    Raises InvalidEventError.
    """
    event = read_strict_form(value, latest, reading)
    return event or _parse_leniently(value, origin, latest, reading, derived_event_id)


def _parse_leniently(
    value: bytes | None,
    origin: tuple[str, int, int],
    latest: datetime,
    reading: Reading,
    derived_event_id: str | None,
) -> Event:
    """Return the event of a record, with repaired fields. Raises InvalidEventError.

    If only the current limits refuse a record, the error holds its event: an earlier version with
    other limits may have stored it.
    """
    record = read_json(value)
    fields = limit_addresses(record.fields, reading.field_names, reading.ip_addresses)
    selected = reading.field_names.select(fields)
    refuse_missing(selected)
    limits = TimeLimits(reading.min_event_time, latest, reading.max_future)
    read = read_time(selected.values["timestamp"], limits)
    repairs = Repairs(selected)
    if read.is_cut:
        repairs.add("timestamp")
    columns: dict[str, Any] = dict.fromkeys(Event._fields)
    columns["event_time"] = read.time
    columns["event_type"] = _native_type(read_event_type(selected), reading, repairs)
    columns["user_id"] = read_user_id(selected)
    columns["event_id"] = (
        _event_id(selected, repairs) or derived_event_id or event_id_of_record(origin, record.raw)
    )
    columns |= _optional_fields(selected, repairs)
    columns["properties"] = write_json(repairs.properties) if repairs.properties else None
    columns["repaired"] = repairs.names
    event = Event(**columns)
    refusal = limits.refusal(read)
    if refusal is None and is_blank(event.user_id):
        refusal = missing_fields(["user_id"], selected)
    if refusal is not None:
        refusal.event = event
        raise refusal
    return event


def _native_type(sent: str, reading: Reading, repairs: Repairs) -> str:
    """Return our name of an event type, if EVENT_TYPES has one."""
    native = reading.event_types.native.get(sent, sent)
    if native != sent:
        repairs.keep_event_type(sent)
    return native


def _event_id(selected: SelectedFields, repairs: Repairs) -> str | None:
    """Return the id that was sent; None if there is none, or none that can be read."""
    if "event_id" not in selected.values:
        return None
    event_id = read_event_id(selected.values["event_id"])
    if event_id is None:
        repairs.add("event_id")
    return event_id


def _optional_fields(selected: SelectedFields, repairs: Repairs) -> dict[str, Any]:
    """Return the columns of the optional fields that were sent."""
    columns = {}
    for field, read in OPTIONAL_FIELDS.items():
        if field in selected.values:
            columns[field], is_repaired = read(selected.values[field])
            if is_repaired:
                repairs.add(field)
    return columns
