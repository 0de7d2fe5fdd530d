"""Visitors that a record names, also a record that cannot become an event.

`names_any` decides which stored rejected records `erase` deletes. It searches the bytes, so it
finds a visitor in a record that cannot be parsed. `visitors_of` returns the ids that can be read
from a record: only these can be compared with the hashes of erased visitors when it is read again.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from clickstream.model.field_names import FieldNames
from clickstream.model.json_records import FRAME_BYTES, decode_json, is_framed
from clickstream.model.required_fields import user_id_text

# A JSON string inside a JSON string has its escapes escaped again.
LEVELS_OF_ESCAPES = 2
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_CONTROL_CHARACTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# Text has no other control characters than tab, line feed and carriage return.
_has_binary_bytes = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f]").search
_BEGINS_LIKE_JSON = re.compile(r'\s*[{\["]').match


def visitors_of(key: bytes | None, value: bytes | None, names: FieldNames) -> set[str]:
    """Return the visitors that can be read in key and value of a record.

    names: names of fields, by EVENT_FIELDS.
    """
    return visitors_of_key(key) | visitors_of_value(value, names)


def visitors_of_key(key: bytes | None) -> set[str]:
    """Return the visitors that the key of a record may stand for: as text, and as JSON."""
    if not key:
        return set()
    found = {key.decode("utf-8", "surrogateescape")}
    content = _decode(key)
    if (visitor := user_id_text(content)) is not None:
        found.add(visitor)
    return found


def visitors_of_value(value: bytes | None, names: FieldNames) -> set[str]:
    """Return the user_ids that can be read in a value, under the names of EVENT_FIELDS.

    They are read in objects at any depth, also in JSON inside a JSON string.
    """
    found = set()
    contents = [_decode(value)] if value else []
    while contents:
        content = contents.pop()
        if isinstance(content, dict):
            _, user_id = names.find(content, "user_id")
            if (visitor := user_id_text(user_id)) is not None:
                found.add(visitor)
            contents += content.values()
        elif isinstance(content, list):
            contents += content
        elif isinstance(content, str) and _BEGINS_LIKE_JSON(content):
            contents.append(_decode(content.encode("utf-8", "surrogatepass")))
    return found


def names_any(
    key: bytes | None, value: bytes | None, visitors: Collection[str], names: FieldNames
) -> bool:
    """Return True if the key or the value of a rejected record names one of the visitors.

    Besides ids that can be read, the bytes are searched for an id, in UTF-8 and with the escapes of
    JSON:
    - In a record of another visitor, the id must be a whole JSON string.
    - In any other text, it must not be a part of a longer word, number, date or time: 42 is not in
      421, 4.42 or 12:42.
    - In bytes that are not text, it may stand anywhere.
    """
    readable = visitors_of_value(value, names)
    if not readable.union(visitors_of_key(key)).isdisjoint(visitors):
        return True
    if not value:
        return False
    if _has_binary_bytes(value):
        return any(each.encode("utf-8", "surrogatepass") in value for each in visitors)
    is_named = _is_whole_string if readable else _is_whole_word
    texts = list(_texts(value))
    return any(each in text and is_named(each, text) for each in visitors for text in texts)


def _is_whole_string(visitor: str, text: str) -> bool:
    return f'"{visitor}"' in text


def _is_whole_word(visitor: str, text: str) -> bool:
    """Return True if an id in a text is not a part of a longer word, number, date or time."""
    fraction = r"(?:\.0+)?" if visitor.isdecimal() else ""
    before, after = r"(?<!\w)(?<!\d[.:-])", r"(?!\w)(?![.:-]\d)"
    pattern = f"{before}{re.escape(visitor)}{fraction}{after}"
    return re.search(pattern, text, re.ASCII) is not None


def _decode(value: bytes) -> Any:
    """Return the JSON in a value; None if it is not JSON."""
    try:
        return decode_json(value[FRAME_BYTES:] if is_framed(value) else value)
    except (ValueError, RecursionError):
        return None


def _texts(value: bytes) -> Iterator[str]:
    """Yield a value as text, as it is and without the escapes of JSON."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        yield value.decode("latin-1")  # the usual encoding of text that is not UTF-8
        text = value.decode("utf-8", "replace")
    yield text
    for _ in range(LEVELS_OF_ESCAPES):
        if "\\" not in text:
            return
        text = _ESCAPE.sub(_unescaped, text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins pairs
        yield text


def _unescaped(escape: re.Match[str]) -> str:
    code, character = escape.groups()
    return chr(int(code, 16)) if code else _CONTROL_CHARACTERS.get(character, character)
