"""The form in which our producer writes events, and which event.schema.json recommends.

Most records have it. They are read here in few steps; `parse.py` reads all others.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from clickstream.model.addresses import is_plain_address
from clickstream.model.event_ids import is_canonical_uuid
from clickstream.model.events import (
    MAX_QUANTITY,
    MAX_TEXT_CHARACTERS,
    PRICE_LIMIT,
    PRICE_PLACES,
    TEXT_FIELDS,
    Event,
)
from clickstream.model.reading import Reading

# A text of this many characters never has more than MAX_NAME_BYTES.
SHORT_NAME = 64
# 2024-05-01T12:00:00.123456Z
TIME_CHARACTERS = 27

_are_texts = frozenset({str, type(None)}).issuperset
_has_exponent = re.compile(r"[0-9]e[+0-9]").search


def read_strict_form(value: bytes | None, latest: datetime, reading: Reading) -> Event | None:
    """Return the event of a record in the strict form; None for any other record.

    latest: the last event time accepted (aware UTC).
    """
    fields = _object(value)
    identity = _identity(fields, latest, reading) if fields else None
    if fields is None or identity is None:
        return None
    take = fields.pop
    texts = [take(name, None) for name in TEXT_FIELDS]
    ip_address, success = take("ip_address", None), take("success", None)
    price, quantity = take("price", None), take("quantity", None)
    if not (
        (_are_texts(map(type, texts)) and "" not in texts)
        and (ip_address is None or is_plain_address(ip_address))
        and (success is None or type(success) is bool)
        and (quantity is None or (type(quantity) is int and abs(quantity) <= MAX_QUANTITY))
    ):
        return None
    try:
        price = None if price is None else _price(price)
        properties = _properties(fields) if fields else None
    except ValueError:
        return None
    page, place, product, others = texts[:3], texts[3:6], texts[6:8], texts[8:]
    before, after = (*identity, *page, ip_address, *place), (*product, price, quantity, *others)
    return Event._make((*before, success, *after, properties, None))


def _object(value: bytes | None) -> dict[str, Any] | None:
    """Return the fields of a record of which no text can be too long or unstorable."""
    if value is None or len(value) > MAX_TEXT_CHARACTERS or b"\\u0000" in value:
        return None
    try:
        fields = orjson.loads(value)
    except ValueError:
        return None
    return fields if type(fields) is dict else None


def _identity(
    fields: dict[str, Any], latest: datetime, reading: Reading
) -> tuple[str, datetime, str, str] | None:
    """Take id, time, type and visitor out of the fields; None if one is not in the strict form."""
    take = fields.pop
    event_id, event_type = take("event_id", None), take("event_type", None)
    user_id, time = take("user_id", None), _time(take("timestamp", None))
    if (
        (type(event_id) is str and is_canonical_uuid(event_id))
        and (time is not None and reading.min_event_time <= time <= latest)
        and (type(event_type) is str and 0 < len(event_type) <= SHORT_NAME)
        and (type(user_id) is str and 0 < len(user_id) <= SHORT_NAME and not user_id.isspace())
        and event_type not in reading.event_types.native
    ):
        return event_id, time, event_type, user_id
    return None


def _time(value: Any) -> datetime | None:
    """Return the time of ISO 8601 in UTC with at most six fraction digits."""
    if type(value) is not str or len(value) > TIME_CHARACTERS or value[19:20] not in (".", "Z"):
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


def _properties(fields: dict[str, Any]) -> str:
    """Return the fields that have no column as JSON text.

    Raises ValueError if one belongs to a column, or if orjson may have lost digits of a number.
    """
    if "ip" in fields or "device" in fields:
        raise ValueError("a second native name")
    try:
        text = orjson.dumps(fields).decode()
    except TypeError:
        raise ValueError("nested too deep") from None
    if _has_exponent(text):
        raise ValueError("perhaps an integer outside 64 bits")
    return text
