"""Events as JSON objects with native names, which the consumer reads without EVENT_FIELDS."""

import json
import re
from dataclasses import dataclass
from typing import Any

from clickstream.model.events import InvalidEventError
from clickstream.model.field_names import EventTypes, FieldNames
from clickstream.model.json_records import HugeNumber, SentNumber, read_json

# Prefix of the name of a field, if another field has been given that name.
ORIGINAL = "original_"

_encode = json.JSONEncoder(ensure_ascii=False).encode
_escape_lone_surrogates = re.compile("[\ud800-\udfff]").sub


@dataclass(frozen=True, slots=True)
class Renaming:
    """Gives fields and event types their native names, as EVENT_FIELDS and EVENT_TYPES do."""

    field_names: FieldNames
    event_types: EventTypes

    def apply(self, value: bytes) -> bytes:
        """Return an event with native names; a value that is no JSON object is not changed.

        If a native name is taken, the value that had it is kept under another name. So is an event
        type that is replaced.
        """
        try:
            record = read_json(value)
        except InvalidEventError:
            return value
        selected = self.field_names.select(record.fields)
        fields = dict(selected.values)
        sent_type = fields.get("event_type")
        if isinstance(sent_type, str) and sent_type in self.event_types.native:
            fields["event_type"] = self.event_types.native[sent_type]
            fields[f"{ORIGINAL}event_type"] = sent_type
        for name, other in selected.others.items():
            fields[_free_name(name, fields)] = other
        return json_object(fields)


def _free_name(name: str, fields: dict[str, Any]) -> str:
    while name in fields:
        name = f"{ORIGINAL}{name}"
    return name


def json_object(fields: dict[str, Any]) -> bytes:
    """Return a JSON object. Numbers that read_json has read keep their text."""
    text = _json_text(fields)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _escape_lone_surrogates(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _json_text(value: Any) -> str:
    if type(value) is SentNumber or type(value) is HugeNumber:
        return value.text
    if type(value) is dict:
        members = (f"{_encode(name)}:{_json_text(item)}" for name, item in value.items())
        return "{" + ",".join(members) + "}"
    if type(value) is list:
        return "[" + ",".join(map(_json_text, value)) + "]"
    return _encode(value)
