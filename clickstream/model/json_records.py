"""The JSON object in the value of a record, read exactly.

The standard library's parser reads what orjson refuses (NaN, numbers outside a double, lone
surrogates) and keeps integers and the text of other numbers exactly.
"""

import json
from typing import Any, NamedTuple

import orjson

from clickstream.model.events import MAX_LEVELS, MAX_VALUE_BYTES, InvalidEventError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A schema registry's serializer writes byte 0 and a schema id of four bytes before the value.
FRAME_BYTES = 5
NOT_A_NUMBER = float("nan")
# An integer of at most this many digits is within the range of a double.
DIGITS_OF_A_DOUBLE = 308


class SentNumber(float):
    """A number with a fraction or an exponent, together with its text."""

    __slots__ = ("text",)
    text: str


class HugeNumber(NamedTuple):
    """A number beyond the range of a double, kept as text."""

    text: str


class JsonRecord(NamedTuple):
    """The fields of a record, and its bytes without the frame of a schema registry.

    Numbers are int, SentNumber or HugeNumber; NaN, Infinity and -Infinity are NOT_A_NUMBER.
    """

    fields: dict[str, Any]
    raw: bytes


def read_json(value: bytes | None) -> JsonRecord:
    """Return the JSON object in the value of a record.

    Raises InvalidEventError.
    """
    if value is None:
        raise InvalidEventError("no_value", "The record has no value.")
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidEventError(
            "value_too_large", f"The value has {len(value)} bytes; {MAX_VALUE_BYTES} are allowed."
        )
    raw = value[FRAME_BYTES:] if is_framed(value) else value
    try:
        fields = decode_json(raw)
    except RecursionError:
        raise _nested_too_deep() from None
    except ValueError as error:
        raise _not_json(value, error) from None
    if raw.count(b"[") + raw.count(b"{") > MAX_LEVELS:
        _check_depth(fields)
    if type(fields) is not dict:
        raise _not_an_object(fields)
    return JsonRecord(fields, raw)


def decode_json(text: bytes) -> Any:
    """Return the JSON value in a text in UTF-8, which may begin with a byte order mark.

    Raises ValueError, and RecursionError if it is nested too deep.
    """
    return _DECODER.decode(text.removeprefix(BYTE_ORDER_MARK).decode())


def is_framed(value: bytes) -> bool:
    """Return True if a value starts with the frame of a schema registry."""
    return len(value) >= FRAME_BYTES and value[0] == 0


def write_json(fields: dict[str, Any]) -> str:
    """Return an object as JSON text. Integers outside 64 bits are written exactly."""
    try:
        return orjson.dumps(fields).decode()
    except TypeError:  # such an integer, or a SentNumber
        return json.dumps(fields, ensure_ascii=False)


def write_as_read(value: Any) -> bytes:
    """Return a value of `read_json` as JSON, from which `read_json` reads the same value.

    A key that appeared twice has its last value.
    """
    # A lone surrogate becomes its escape, which is JSON.
    return _exact_json(value).encode("utf-8", "backslashreplace")


def _exact_json(value: Any) -> str:
    if type(value) is dict:
        items = [f"{_exact_json(name)}:{_exact_json(item)}" for name, item in value.items()]
        return f"{{{','.join(items)}}}"
    if type(value) is list:
        return f"[{','.join([_exact_json(item) for item in value])}]"
    if type(value) is SentNumber or type(value) is HugeNumber:
        return value.text
    return json.dumps(value, ensure_ascii=False)


def kind_of(value: object) -> str:
    """Return the name of a JSON value's kind, with its article."""
    return _KINDS.get(type(value), "a number")


_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
}


def _integer(text: str) -> int | HugeNumber:
    if len(text) <= DIGITS_OF_A_DOUBLE or abs(float(text)) != float("inf"):
        return int(text)
    return HugeNumber(text)


def _other_number(text: str) -> SentNumber | HugeNumber:
    number = SentNumber(text)
    if abs(number) == float("inf"):
        return HugeNumber(text)
    number.text = text
    return number


_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_other_number, parse_constant=lambda _: NOT_A_NUMBER
)


def _check_depth(value: object) -> None:
    level = _containers([value])
    for _ in range(MAX_LEVELS):
        level = [inner for outer in level for inner in _containers(outer)]
        if not level:
            return
    raise _nested_too_deep()


def _containers(outer: Any) -> list[Any]:
    items = outer.values() if type(outer) is dict else outer
    return [item for item in items if type(item) is dict or type(item) is list]


def _nested_too_deep() -> InvalidEventError:
    return InvalidEventError(
        "nested_too_deep", f"The value is nested too deep; {MAX_LEVELS} levels are allowed."
    )


def _not_json(value: bytes, error: ValueError) -> InvalidEventError:
    """Return the reason for bytes that the parser could not read."""
    if is_framed(value):
        schema_id = int.from_bytes(value[1:FRAME_BYTES], "big")
        return InvalidEventError(
            "schema_registry_not_json",
            f"The value has the frame of a schema registry (schema id {schema_id}), and the bytes "
            "after it are not JSON: send with the registry's JSON Schema serializer, not with "
            "that of Avro or Protobuf.",
        )
    if isinstance(error, UnicodeDecodeError):
        return InvalidEventError(
            "not_utf8", f"The value is not UTF-8: byte {error.start} cannot be read."
        )
    return InvalidEventError("not_json", f"The value is not JSON: {error}.")


def _not_an_object(value: object) -> InvalidEventError:
    detail = f"The value is JSON, but {kind_of(value)} and not an object."
    if type(value) is list:
        detail = "The value is an array: send one event per record."
    elif type(value) is str and value.lstrip().startswith(("{", "[")):
        detail = "The value is JSON inside a JSON string: encode the event once, not twice."
    return InvalidEventError("not_an_object", detail)
