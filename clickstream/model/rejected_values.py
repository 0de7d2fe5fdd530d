"""The part of a rejected record's value that IP_ADDRESSES allows to store."""

from typing import NamedTuple

from clickstream.model.address_fields import limit_addresses
from clickstream.model.event_ids import event_id_of_record
from clickstream.model.events import InvalidEventError
from clickstream.model.ip_addresses import IpAddresses
from clickstream.model.json_records import FRAME_BYTES, is_framed, read_json, write_as_read
from clickstream.model.reading import Reading


class KeptValue(NamedTuple):
    """The kept part of a rejected record's value.

    value: its bytes, with limited addresses; None if nothing is kept.
    derived_event_id: the id that an event without an id gets from the bytes as they were sent; None
    if the value has these bytes.
    note: a sentence about a value that is not kept, with a space before it; else empty.
    """

    value: bytes | None
    derived_event_id: str | None = None
    note: str = ""


def kept_value(value: bytes | None, origin: tuple[str, int, int], reading: Reading) -> KeptValue:
    """Return what is kept of a rejected record's value.

    A value that is no JSON object may hold an address anywhere, so it is kept only if addresses are
    kept in full. origin: topic, partition and offset.
    """
    if value is None or reading.ip_addresses is IpAddresses.FULL:
        return KeptValue(value)
    try:
        record = read_json(value)
    except InvalidEventError:
        note = f" Its value is not kept, by IP_ADDRESSES={reading.ip_addresses}."
        return KeptValue(None, note=note)
    fields = limit_addresses(record.fields, reading.field_names, reading.ip_addresses)
    frame = value[:FRAME_BYTES] if is_framed(value) else b""
    return KeptValue(frame + write_as_read(fields), event_id_of_record(origin, record.raw))
