"""Repairs: the fields of a record whose value was lost or changed, kept as they were sent."""

from typing import Any

from clickstream.model.events import RECORD_FIELDS
from clickstream.model.field_names import FIELD_OF_NAME, SelectedFields
from clickstream.model.json_records import NOT_A_NUMBER, HugeNumber
from clickstream.model.texts import is_storable, storable_text

PROPERTIES = "properties"


class Repairs:
    """The properties of one record, and the names of its repaired fields."""

    def __init__(self, selected: SelectedFields) -> None:
        self._selected = selected
        self._names: set[str] = set()
        self._properties: dict[str, Any] = {}
        for name, value in selected.others.items():
            self._add_property(name, value)

    def _add_property(self, name: str, value: Any) -> None:
        stored = storable_json(value)
        if stored != value or not is_storable(name):
            field = FIELD_OF_NAME.get(name, PROPERTIES)
            self._names.add(PROPERTIES if field in self._selected.values else field)
        self._properties[storable_text(name)] = stored

    def add(self, field: str) -> None:
        """Note that a field's value was lost or changed; the value as sent becomes a property."""
        self._names.add(field)
        if field in self._selected.sent_as:  # a nested value is a property already
            name = storable_text(self._selected.sent_as[field])
            self._properties[name] = storable_json(self._selected.values[field])

    def keep_event_type(self, sent: str) -> None:
        """Store the type as it was sent as a property, because EVENT_TYPES replaced it."""
        if "event_type" in self._properties:  # the record has a type under two names
            self._names.add(PROPERTIES)
        self._properties["event_type"] = sent

    @property
    def properties(self) -> dict[str, Any]:
        """The fields without a column, and the values as sent of the repaired ones."""
        return self._properties

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the repaired fields, None if there are none."""
        if not self._names:
            return None
        return tuple(name for name in (*RECORD_FIELDS, PROPERTIES) if name in self._names)


def storable_json(value: Any) -> Any:
    """Return a JSON value without NaN, numbers outside a double, NUL and lone surrogates."""
    if type(value) is str:
        return storable_text(value)
    if type(value) is dict:
        return {storable_text(name): storable_json(item) for name, item in value.items()}
    if type(value) is list:
        return [storable_json(item) for item in value]
    if type(value) is HugeNumber:
        return value.text
    return None if value is NOT_A_NUMBER else value
