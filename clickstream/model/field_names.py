"""Names that other producers give to fields and event types: EVENT_FIELDS and EVENT_TYPES.

EVENT_FIELDS is a list of `field=name|name` with semicolons between them, such as
`user_id=userId|anonymousId; page_url=context.page.url`. The names of a field are tried in the
order given, its native names last unless they are listed. A value that is null, "" or NaN is
absent: the next name is tried. A name with dots is a path into nested objects, unless the record
has a key with exactly this name.

EVENT_TYPES has the same form: `page_view=$pageview|view; purchase=Order Completed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clickstream.model.events import MAX_NAME_BYTES, OTHER_NAMES, RECORD_FIELDS

# The field of each native name.
FIELD_OF_NAME = {
    **{field: field for field in RECORD_FIELDS},
    **{name: field for field, names in OTHER_NAMES.items() for name in names},
}

# A key of the record, or the keys on the way into nested objects.
Path = tuple[str, ...]


class SelectedFields(NamedTuple):
    """The fields of a record by their native names.

    values: as they were sent; a field that is absent has no entry.
    sent_as: the key of the record that a value was moved from; a nested value has no entry.
    others: the rest of the record. A nested value stays here too, inside its object.
    """

    values: dict[str, Any]
    sent_as: dict[str, str]
    others: dict[str, Any]

    def label(self, field: str) -> str:
        """Return a field's name for a sentence, with the name that it was sent under."""
        name = self.sent_as.get(field, field)
        return field if name == field else f"{field} (sent as {name!r})"


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The names under which the fields of an event are looked for.

    text: EVENT_FIELDS in canonical form, for comparison.
    paths: for each field the paths to try, in this order.
    """

    text: str
    paths: Mapping[str, tuple[Path, ...]]

    def find(self, record: Mapping[str, Any], field: str) -> tuple[Path, Any]:
        """Return the path and the value of a field; an empty path if it is absent."""
        for path in self.paths[field]:
            value = record.get(path[0]) if len(path) == 1 else _nested(record, path)
            if value is not None and not is_absent(value):
                return path, value
        return (), None

    def select(self, record: Mapping[str, Any]) -> SelectedFields:
        """Return the fields of a record; the record is not changed."""
        values: dict[str, Any] = {}
        sent_as: dict[str, str] = {}
        for field in self.paths:
            path, value = self.find(record, field)
            if path:
                values[field] = value
                if len(path) == 1:
                    sent_as[field] = path[0]
        others = dict(record)
        for name in sent_as.values():
            others.pop(name, None)  # one value can be that of two fields
        for name in FIELD_OF_NAME.keys() & others.keys():
            if _is_empty(others[name]):
                del others[name]
        return SelectedFields(values, sent_as, others)


def is_absent(value: object) -> bool:
    """Return True for a value that counts as no value: null, "" and NaN."""
    return _is_empty(value) or value != value


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def _nested(record: Mapping[str, Any], path: Path) -> Any:
    value: Any = record
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def parse_field_names(text: str) -> FieldNames:
    """Parse a text in the form of EVENT_FIELDS.

    Raises ValueError with the end of a sentence that begins with the setting's name.
    """
    names = _parse_lists(text)
    for field in names:
        if field not in RECORD_FIELDS:
            raise ValueError(
                f"names the field {field!r}, which an event does not have; the fields are "
                f"{', '.join(RECORD_FIELDS)}"
            )
    return FieldNames(
        text=_canonical(names),
        paths={field: _paths(field, names.get(field, ())) for field in RECORD_FIELDS},
    )


def _paths(field: str, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Return where to look for a field: under the names given, then under its native ones."""
    native = tuple(name for name in (field, *OTHER_NAMES.get(field, ())) if name not in names)
    paths: list[Path] = []
    for name in (*names, *native):
        paths.append((name,))
        if "." in name:
            paths.append(tuple(name.split(".")))
    return tuple(paths)


@dataclass(frozen=True, slots=True)
class EventTypes:
    """The native event types that replace the types of other producers.

    text: EVENT_TYPES in canonical form, for comparison.
    native: our type by the type as sent.
    """

    text: str
    native: Mapping[str, str]


def parse_event_types(text: str) -> EventTypes:
    """Parse a text in the form of EVENT_TYPES.

    Raises ValueError with the end of a sentence that begins with the setting's name.
    """
    lists = _parse_lists(text)
    native: dict[str, str] = {}
    for event_type, names in lists.items():
        if len(event_type.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"has a type of more than {MAX_NAME_BYTES} bytes: {event_type[:40]}")
        for name in names:
            if native.setdefault(name, event_type) != event_type:
                raise ValueError(f"gives {name!r} to both {native[name]} and {event_type}")
    in_order = {event_type: tuple(sorted(names)) for event_type, names in lists.items()}
    return EventTypes(text=_canonical(in_order), native=native)


def _parse_lists(text: str) -> dict[str, tuple[str, ...]]:
    """Parse a list of this form: `a=b|c; d=e` becomes {a: (b, c), d: (e,)}."""
    lists: dict[str, tuple[str, ...]] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        meaning, equals, names_text = part.partition("=")
        meaning = meaning.strip()
        names = tuple(name.strip() for name in names_text.split("|"))
        if not equals or not meaning or not all(names):
            raise ValueError(f"must be a list like a=b|c; d=e, and {part!r} is not of this form")
        if meaning in lists:
            raise ValueError(f"has {meaning} twice; write all its names in one place")
        lists[meaning] = tuple(dict.fromkeys(names))
    return lists


def _canonical(lists: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{meaning}={'|'.join(names)}" for meaning, names in sorted(lists.items()))


NATIVE_FIELD_NAMES = parse_field_names("")
NATIVE_EVENT_TYPES = parse_event_types("")
