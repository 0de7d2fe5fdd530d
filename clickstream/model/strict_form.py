"""The form in which our producer writes events, and which event.schema.json recommends.

Most records have this form. They are read here in few steps; `parse.py` reads all others.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import orjson

from clickstream.model.event_ids import is_canonical_uuid
from clickstream.model.events import (
    FIELD_COLUMNS,
    MAX_ENGAGED_MS,
    MAX_LEVELS,
    MAX_QUANTITY,
    MAX_TEXT_CHARACTERS,
    PRICE_LIMIT,
    PRICE_PLACES,
    TEXT_FIELDS,
    Event,
)
from clickstream.model.ip_addresses import IpAddresses, is_plain_address, truncate_address
from clickstream.model.reading import Reading

# A text of this many characters never has more than MAX_NAME_BYTES.
SHORT_NAME = 64
LONGEST_TIME = len("2024-05-01T12:00:00.123456+00:00")
LONGEST_TIME_WITH_Z = len("2024-05-01T12:00:00.123456Z")
BACKSLASH = ord("\\")  # in bytes, an integer is found much faster than a byte

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT_NAME)]
_REQUIRED = {"event_id": str, "event_time": str, "event_type": _Name, "user_id": _Name}
_OPTIONAL: dict[str, Any] = {
    **dict.fromkeys(TEXT_FIELDS, Annotated[str, msgspec.Meta(min_length=1)]),
    "ip_address": str,
    "success": bool,
    "price": int | float,
    "quantity": Annotated[int, msgspec.Meta(ge=-MAX_QUANTITY, le=MAX_QUANTITY)],
    "engaged_ms": Annotated[int, msgspec.Meta(ge=0, le=MAX_ENGAGED_MS)],
}
# The native fields in the order of the columns.
_NativeFields = msgspec.defstruct(
    "_NativeFields",
    [
        (name, _REQUIRED[name]) if name in _REQUIRED else (name, _OPTIONAL[name] | None, None)
        for name in FIELD_COLUMNS
    ],
    rename={"event_time": "timestamp"},
    gc=False,
)
_OnlyNativeFields = msgspec.defstruct(
    "_OnlyNativeFields", [], bases=(_NativeFields,), forbid_unknown_fields=True, gc=False
)
NATIVE_NAMES = frozenset(_NativeFields.__struct_encode_fields__)


class _RequiredFields(msgspec.Struct, gc=False):
    """The fields that can reject a record. Other fields are skipped, but have to be JSON."""

    timestamp: str
    event_type: _Name
    user_id: _Name


_decode = msgspec.json.Decoder(_OnlyNativeFields).decode
_decode_required = msgspec.json.Decoder(_RequiredFields).decode
_values_of = msgspec.structs.astuple
_has_exponent = re.compile(r"[0-9]e[+0-9]").search


def read_strict_form(value: object, latest: datetime, reading: Reading) -> Event | None:
    """Return the event of a record in the strict form; None for any other record.

    latest: the last event time accepted (aware UTC). With EVENT_FIELDS there is no strict form.
    """
    if type(value) is not bytes or reading.field_names.text:
        return None
    # Looking for one character first is much faster, and few records have it.
    if len(value) > MAX_TEXT_CHARACTERS or (BACKSLASH in value and b"\\u0000" in value):
        return None
    try:
        fields, properties = _decode_fields(value)
        fields.event_time = _time(fields.event_time)
        if fields.price is not None:
            fields.price = _price(fields.price)
    except (ValueError, msgspec.DecodeError):
        return None
    address = fields.ip_address
    if not (
        is_canonical_uuid(fields.event_id)
        and reading.min_event_time <= fields.event_time <= latest
        and fields.event_type not in reading.event_types.native
        and not fields.user_id.isspace()
        and (address is None or is_plain_address(address))
    ):
        return None
    if address is not None and reading.ip_addresses is not IpAddresses.FULL:
        is_truncated = reading.ip_addresses is IpAddresses.TRUNCATED
        fields.ip_address = truncate_address(address) if is_truncated else None
    return Event._make((*_values_of(fields), properties, None))


def read_time_and_visitor(
    value: bytes, latest: datetime, reading: Reading
) -> tuple[datetime, str] | None:
    """Return event_time and user_id of a record that is certainly an event; else None.

    It takes a third of the time of reading the whole event. latest: see `read_strict_form`.
    """
    if (
        len(value) > MAX_TEXT_CHARACTERS
        or BACKSLASH in value  # perhaps a NUL
        or value.count(b"[") + value.count(b"{") > MAX_LEVELS
    ):
        return None
    try:
        value.decode()  # msgspec accepts other bytes in fields that it skips
        fields = _decode_required(value)
        time = _time(fields.timestamp)
    except (ValueError, msgspec.DecodeError):
        return None
    if not reading.min_event_time <= time <= latest or fields.user_id.isspace():
        return None
    return time, fields.user_id


def _decode_fields(value: bytes) -> tuple[Any, str | None]:
    """Return the native fields of a record, and its other keys as JSON text.

    Raises ValueError or DecodeError if a field has another type or exceeds its limits.
    """
    try:
        return _decode(value), None
    except msgspec.ValidationError:  # usually because of a key that is no native field
        fields = orjson.loads(value)
        return msgspec.convert(fields, _NativeFields), _properties(fields)


def _time(text: str) -> datetime:
    """Return the time of ISO 8601 in UTC with at most six fraction digits. Raises ValueError."""
    if text[19:20] not in (".", "Z", "+") or len(text) > LONGEST_TIME:
        raise ValueError("perhaps more than six digits")
    if len(text) > LONGEST_TIME_WITH_Z and not text.endswith("+00:00"):
        raise ValueError("perhaps more than six digits")
    time = datetime.fromisoformat(text)
    if time.tzinfo is not UTC:
        raise ValueError("not in UTC")
    return time


def _price(number: float) -> Decimal:
    """Return a price of at most four places. Raises ValueError for any other number."""
    price = Decimal(repr(number))
    if abs(price) >= PRICE_LIMIT or int(price.as_tuple().exponent) < -PRICE_PLACES:
        raise ValueError("too many digits")
    return price


def _properties(fields: dict[str, Any]) -> str | None:
    """Return the keys that are no native field as JSON text; None if there are none.

    Raises ValueError for a second native name, or if orjson may have lost digits of a number.
    """
    others = {name: value for name, value in fields.items() if name not in NATIVE_NAMES}
    if not others:  # a native field appears twice, first with a value of another type
        return None
    if "ip" in others or "device" in others:
        raise ValueError("a second native name")
    try:
        text = orjson.dumps(others).decode()
    except TypeError:
        raise ValueError("nested too deep") from None
    if _has_exponent(text):
        raise ValueError("perhaps an integer outside 64 bits")
    return text
