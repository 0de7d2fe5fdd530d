"""The event, and the one door through which the bytes of a record become one.

Nothing deeper checks again: an `Event` has the types and limits that the tables have.
`event.schema.json` states the same contract for producers; a test holds the two together.
"""

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from clickstream.model.identifiers import uuid5

MAX_VALUE_BYTES = 1 << 20
MAX_NAME_BYTES = 256
MAX_TEXT_CHARACTERS = 8_192
MAX_DEPTH = 254  # as deep as orjson writes
MAX_QUANTITY = 1_000_000
PRICE_LIMIT = Decimal(10**10)
PRICE_PLACES = 4
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 10**11
# Identifiers that are not UUIDs become version 5 UUIDs of this namespace.
EVENT_NAMESPACE = UUID("5b0f36e5-29d5-4cc4-9ee6-b6a8a4fd1f0c")

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EXPONENT = re.compile(r"[0-9]e[+0-9]")

Key = tuple[datetime, str]


class Event(NamedTuple):
    """One event, in the order of the columns of clickstream_events.

    event_id is a canonical UUID in lower case, event_time an aware UTC datetime with
    microseconds, properties JSON text.
    """

    event_id: str
    event_time: datetime
    event_type: str
    user_id: str
    page_url: str | None
    referrer: str | None
    user_agent: str | None
    ip_address: str | None
    device_type: str | None
    country: str | None
    city: str | None
    success: bool | None
    product_id: str | None
    product_category: str | None
    price: Decimal | None
    quantity: int | None
    order_id: str | None
    search_query: str | None
    element_id: str | None
    viewport_size: str | None
    article_id: str | None
    article_category: str | None
    visit_id: str | None
    properties: str | None

    @property
    def key(self) -> Key:
        """What orders events and identifies one: (event_time, event_id)."""
        return self.event_time, self.event_id


COLUMNS = Event._fields
TEXTS = (
    "page_url",
    "referrer",
    "user_agent",
    "device_type",
    "country",
    "city",
    "product_id",
    "product_category",
    "order_id",
    "search_query",
    "element_id",
    "viewport_size",
    "article_id",
    "article_category",
    "visit_id",
)
# The fields that a record may have, by their native names; all other keys are properties.
RECORD_FIELDS = (
    "event_id",
    "event_type",
    "timestamp",
    "user_id",
    *TEXTS,
    "ip_address",
    "success",
    "price",
    "quantity",
)
# Second native names, used if a record does not have the first.
OTHER_NAMES = {"ip_address": ("ip",), "device_type": ("device",)}
_TEXT_TYPES = frozenset({str, type(None)})


class InvalidEventError(ValueError):
    """A record that cannot become an event: a reason code and one sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def parse(value: bytes | None, *, origin: tuple[str, int, int], latest: datetime) -> Event:
    """Turn the value of a record into an event.

    origin: topic, partition and offset, which identify an event that has no event_id.
    latest: the largest event time accepted (aware UTC).
    Raises InvalidEventError.
    """
    raw, data = _load(value)
    if b"\\u0000" in raw:
        _refuse_nul(data)
    if float in (type(data.get("user_id")), type(data.get("event_id")), type(data.get("quantity"))):
        data = _load_exactly(raw)
    take = data.pop
    event_id = _event_id(take("event_id", None), origin, raw)
    event_type = _name("event_type", take("event_type", None))
    event_time = _time(take("timestamp", None), latest)
    user_id = _name("user_id", _integer_as_text(take("user_id", None)))
    ip_address = _ip(_either(data, "ip_address", "ip"))
    if "device" in data and data.get("device_type") is None:
        data["device_type"] = take("device")
    texts = _texts(data, raw)
    return Event._make(
        (
            event_id,
            event_time,
            event_type,
            user_id,
            *texts[:3],
            ip_address,
            *texts[3:6],
            _success(take("success", None)),
            *texts[6:8],
            _price(take("price", None)),
            _quantity(take("quantity", None)),
            *texts[8:],
            _dump(data, raw) if data else None,
        )
    )


def _load(value: bytes | None) -> tuple[bytes, dict[str, Any]]:
    if value is None:
        raise InvalidEventError("no_value", "The record has no value.")
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidEventError(
            "value_too_large", f"The value has {len(value)} bytes; {MAX_VALUE_BYTES} are allowed."
        )
    try:
        data = orjson.loads(value)
    except (ValueError, RecursionError):
        raise _why_not_json(value) from None
    if type(data) is not dict:
        raise InvalidEventError(
            "not_an_object", f"The value is JSON, but {_kind(data)} and not an object."
        )
    return value, data


def _load_exactly(raw: bytes) -> dict[str, Any]:
    """Parse again with the standard library; orjson makes floats of integers beyond 64 bits."""
    try:
        exact: dict[str, Any] = json.loads(raw)
    except RecursionError:
        raise _nested_too_deep() from None
    return exact


def _why_not_json(value: bytes) -> InvalidEventError:
    """Name what the strict parser refused, with the help of a lenient one."""
    try:
        data = json.loads(
            value.decode(),
            parse_int=float,
            parse_constant=_refuse_constant,
            object_pairs_hook=_keys_and_values,
        )
        for item in _walk(data):
            _refuse_unstorable(item)
    except UnicodeDecodeError as error:
        return InvalidEventError(
            "not_utf8", f"The value is not UTF-8: byte {error.start} cannot be read."
        )
    except InvalidEventError as error:
        return error
    except RecursionError:
        return _nested_too_deep()
    except ValueError as error:
        return InvalidEventError("not_json", f"The value is not JSON: {error}.")
    return _nested_too_deep()


def _nested_too_deep() -> InvalidEventError:
    return InvalidEventError(
        "nested_too_deep", f"The value is nested too deep; {MAX_DEPTH} levels are allowed."
    )


def _keys_and_values(pairs: list[tuple[str, Any]]) -> list[Any]:
    """An object as a list, so that a key that appears twice does not hide what it had first."""
    return [item for pair in pairs for item in pair]


def _refuse_constant(name: str) -> None:
    raise InvalidEventError("not_a_number", f"The value contains {name}, which is not JSON.")


def _walk(data: object) -> Iterator[object]:
    """Every key and every scalar of a parsed JSON value."""
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        else:
            yield item


def _refuse_unstorable(item: object) -> None:
    if isinstance(item, str):
        if "\0" in item:
            raise InvalidEventError("bad_text", "A text contains the character NUL.")
        if not _is_unicode(item):
            raise InvalidEventError("bad_text", "A text contains a lone surrogate.")
    elif isinstance(item, float) and item in (float("inf"), float("-inf")):
        raise InvalidEventError("number_out_of_range", "A number is too large for a double.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_nul(data: dict[str, Any]) -> None:
    for item in _walk(data):
        _refuse_unstorable(item)


def _either(data: dict[str, Any], name: str, alias: str) -> Any:
    """The field, or the one under its other name; where both are given the other is a property."""
    value = data.pop(name, None)
    return data.pop(alias, None) if value is None else value


def _integer_as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _name(field: str, value: Any) -> str:
    if type(value) is not str:
        if value is None:
            raise InvalidEventError("missing_field", f"The field {field} is missing.")
        raise _wrong_type(field, value, "a string")
    if not value:
        raise InvalidEventError("missing_field", f"The field {field} is empty.")
    size = len(value) if value.isascii() else len(value.encode())
    if size > MAX_NAME_BYTES:
        raise InvalidEventError(
            "too_long", f"The field {field} has {size} bytes; {MAX_NAME_BYTES} are allowed."
        )
    return value


def _texts(data: dict[str, Any], raw: bytes) -> list[str | None]:
    """The values of TEXTS; checked one by one only where one can be wrong."""
    values = [data.pop(name, None) for name in TEXTS]
    if len(raw) > MAX_TEXT_CHARACTERS or not _TEXT_TYPES.issuperset(map(type, values)):
        for name, value in zip(TEXTS, values, strict=True):
            _refuse_other_text(name, value)
    return values


def _refuse_other_text(field: str, value: Any) -> None:
    if type(value) not in _TEXT_TYPES:
        raise _wrong_type(field, value, "a string")
    if value is not None and len(value) > MAX_TEXT_CHARACTERS:
        raise InvalidEventError(
            "too_long",
            f"The field {field} has {len(value)} characters; {MAX_TEXT_CHARACTERS} are allowed.",
        )


def _event_id(value: Any, origin: tuple[str, int, int], raw: bytes) -> str:
    if type(value) is str and value:
        if _CANONICAL_UUID.fullmatch(value):
            return value
        if _CANONICAL_UUID.fullmatch(value.lower()):
            return value.lower()
        return uuid5(EVENT_NAMESPACE, f"id:{value}".encode())
    if type(value) is int:
        return uuid5(EVENT_NAMESPACE, f"id:{value}".encode())
    if value is None:
        topic, partition, offset = origin
        place = f"record:{topic}:{partition}:{offset}:".encode()
        return uuid5(EVENT_NAMESPACE, place + raw)
    if value == "":
        raise InvalidEventError("missing_field", "The field event_id is empty.")
    raise _wrong_type("event_id", value, "a string or an integer")


def _time(value: Any, latest: datetime) -> datetime:
    if value is None:
        raise InvalidEventError("missing_field", "The field timestamp is missing.")
    if type(value) is str:
        time = _time_of_text(value)
    elif type(value) is int or type(value) is float:
        time = _time_of_number(value)
    else:
        raise _wrong_type("timestamp", value, "a string or a number")
    if time > latest:
        raise InvalidEventError(
            "timestamp_out_of_range",
            f"The timestamp {time.isoformat()} is too far in the future; "
            "MAX_FUTURE_SECONDS sets how far may be.",
        )
    return time


def _time_of_text(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEventError(
            "bad_timestamp", f"The timestamp {_short(text)} is not ISO 8601."
        ) from None
    if time.tzinfo is UTC:
        return time
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise _time_out_of_range(text) from None


def _time_of_number(number: float) -> datetime:
    """Epoch milliseconds from 10^11 up, else seconds; exact to the microsecond."""
    scale = 1_000 if number >= MILLISECONDS_FROM else 1_000_000
    try:
        microseconds = round(Decimal(repr(number)) * scale)
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise _time_out_of_range(number) from None


def _time_out_of_range(value: object) -> InvalidEventError:
    return InvalidEventError(
        "timestamp_out_of_range", f"The timestamp {_short(value)} is outside the years 1 to 9999."
    )


def _ip(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is not str:
        raise _wrong_type("ip_address", value, "a string")
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)
    except (OSError, ValueError):
        raise InvalidEventError(
            "bad_ip", f"The field ip_address is {_short(value)}, which is not an IP address."
        ) from None
    return value


def _success(value: Any) -> bool | None:
    if value is None or type(value) is bool:
        return value
    raise _wrong_type("success", value, "true or false")


def _price(value: Any) -> Decimal | None:
    if value is None:
        return None
    if type(value) is not int and type(value) is not float:
        raise _wrong_type("price", value, "a number")
    price = Decimal(repr(value))
    exponent = price.as_tuple().exponent
    if abs(price) >= PRICE_LIMIT or int(exponent) < -PRICE_PLACES:
        raise InvalidEventError(
            "number_out_of_range",
            f"The price {_short(value)} has more than 10 digits before or 4 after the point.",
        )
    return price


def _quantity(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int:
        raise _wrong_type("quantity", value, "an integer")
    if not 1 <= value <= MAX_QUANTITY:
        raise InvalidEventError(
            "number_out_of_range", f"The quantity {value} is not between 1 and {MAX_QUANTITY}."
        )
    return value


def _dump(data: dict[str, Any], raw: bytes) -> str:
    try:
        text = orjson.dumps(data).decode()
    except TypeError:  # nested too deep, or integers beyond 64 bits, loaded exactly before
        _refuse_depth(data)
        return json.dumps(data, ensure_ascii=False)
    if not _EXPONENT.search(text):
        return text
    exact = _load_exactly(raw)
    return json.dumps({name: exact[name] for name in data}, ensure_ascii=False)


def _refuse_depth(data: dict[str, Any]) -> None:
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _containers(outer)]
    if level:
        raise _nested_too_deep()


def _containers(outer: dict[str, Any] | list[Any]) -> list[Any]:
    items = outer.values() if isinstance(outer, dict) else outer
    return [item for item in items if isinstance(item, dict | list)]


def _wrong_type(field: str, value: Any, wanted: str) -> InvalidEventError:
    return InvalidEventError("wrong_type", f"The field {field} is {_kind(value)}, not {wanted}.")


def _kind(value: Any) -> str:
    kinds = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a number with a fraction",
    }
    return kinds.get(type(value), "null")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
