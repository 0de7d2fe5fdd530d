"""The form in which our producer writes events, and which event.schema.json recommends.

Most records have it. They are read here in few steps; `parse.py` reads all others.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any

import orjson

from clickstream.model.event_ids import is_canonical_uuid
from clickstream.model.events import (
    EVENT_COLUMNS,
    FIELD_COLUMNS,
    MAX_ENGAGED_MS,
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
# 2024-05-01T12:00:00.123456, before Z or +00:00
TIME_CHARACTERS = 26

# The native fields of a record in the order of the columns; event_time is sent as timestamp.
NO_VALUES = dict.fromkeys("timestamp" if name == "event_time" else name for name in FIELD_COLUMNS)
NATIVE = len(NO_VALUES)
TIME, ADDRESS, PRICE = map(EVENT_COLUMNS.index, ("event_time", "ip_address", "price"))

_values_of_texts = itemgetter(*map(EVENT_COLUMNS.index, TEXT_FIELDS))
_values_of_other_types = itemgetter(
    *map(EVENT_COLUMNS.index, ("ip_address", "success", "price", "quantity", "engaged_ms"))
)
_are_texts = frozenset({str, type(None)}).issuperset
_has_exponent = re.compile(r"[0-9]e[+0-9]").search


def read_strict_form(value: bytes | None, latest: datetime, reading: Reading) -> Event | None:
    """Return the event of a record in the strict form; None for any other record.

    latest: the last event time accepted (aware UTC).
    """
    fields = _object(value)
    if fields is None:
        return None
    # The native fields in the order of the columns, and then all other keys.
    columns = {**NO_VALUES, **fields}
    values = list(columns.values())
    event_id, timestamp, event_type, user_id = values[:4]
    ip_address, success, price, quantity, engaged_ms = _values_of_other_types(values)
    texts = _values_of_texts(values)
    time = _time(timestamp)
    if not (
        (type(event_id) is str and is_canonical_uuid(event_id))
        and (time is not None and reading.min_event_time <= time <= latest)
        and (type(event_type) is str and 0 < len(event_type) <= SHORT_NAME)
        and (type(user_id) is str and 0 < len(user_id) <= SHORT_NAME and not user_id.isspace())
        and event_type not in reading.event_types.native
        and (_are_texts(map(type, texts)) and "" not in texts)
        and (ip_address is None or is_plain_address(ip_address))
        and (success is None or type(success) is bool)
        and (quantity is None or (type(quantity) is int and abs(quantity) <= MAX_QUANTITY))
        and (engaged_ms is None or (type(engaged_ms) is int and 0 <= engaged_ms <= MAX_ENGAGED_MS))
    ):
        return None
    try:
        values[TIME], values[PRICE] = time, None if price is None else _price(price)
        values[NATIVE:] = _properties(columns, values), None
    except ValueError:
        return None
    if ip_address is not None and reading.ip_addresses is not IpAddresses.FULL:
        is_truncated = reading.ip_addresses is IpAddresses.TRUNCATED
        values[ADDRESS] = truncate_address(ip_address) if is_truncated else None
    return Event._make(values)


def _object(value: bytes | None) -> dict[str, Any] | None:
    """Return the fields of a record; None if one of its texts may be too long or unstorable."""
    if value is None or len(value) > MAX_TEXT_CHARACTERS or b"\\u0000" in value:
        return None
    try:
        fields = orjson.loads(value)
    except ValueError:
        return None
    return fields if type(fields) is dict else None


def _time(value: Any) -> datetime | None:
    """Return the time of ISO 8601 in UTC with at most six fraction digits."""
    if type(value) is not str or value[19:20] not in (".", "Z", "+"):
        return None
    zone = 1 if value.endswith("Z") else 6 if value.endswith("+00:00") else 0
    if not zone or len(value) - zone > TIME_CHARACTERS:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo is UTC else None


def _price(value: Any) -> Decimal:
    """Return a number of at most four places. Raises ValueError for any other value."""
    if type(value) is not float and type(value) is not int:
        raise ValueError("not a number")
    price = Decimal(repr(value))
    if abs(price) >= PRICE_LIMIT or int(price.as_tuple().exponent) < -PRICE_PLACES:
        raise ValueError("too many digits")
    return price


def _properties(columns: dict[str, Any], values: list[Any]) -> str | None:
    """Return the keys that are no native field as JSON text, None if there are none.

    Raises ValueError for a second native name, or if orjson may have lost digits of a number.
    """
    if len(values) == NATIVE:
        return None
    others = dict(zip(list(columns)[NATIVE:], values[NATIVE:], strict=True))
    if "ip" in others or "device" in others:
        raise ValueError("a second native name")
    try:
        text = orjson.dumps(others).decode()
    except TypeError:
        raise ValueError("nested too deep") from None
    if _has_exponent(text):
        raise ValueError("perhaps an integer outside 64 bits")
    return text
