"""The required fields of an event, and the reasons for which they reject a record."""

from typing import Any

from clickstream.model.events import MAX_NAME_BYTES, REQUIRED_FIELDS, InvalidEventError
from clickstream.model.field_names import SelectedFields
from clickstream.model.json_records import HugeNumber, kind_of
from clickstream.model.texts import integer_text, is_storable, shown

SHOWN_NAMES = 10


def refuse_missing(selected: SelectedFields) -> None:
    """Raise InvalidEventError if a required field is missing, naming all that are."""
    missing = [field for field in REQUIRED_FIELDS if field not in selected.values]
    if missing:
        raise missing_fields(missing, selected)


def missing_fields(missing: list[str], selected: SelectedFields) -> InvalidEventError:
    """Return the error for missing required fields. It also names the fields that are present."""
    *first, last = missing
    fields = f"fields {', '.join(first)} and {last} are" if first else f"field {last} is"
    names = [*selected.others, *selected.sent_as.values()]
    there = ", ".join(shown(name)[1:-1] for name in names[:SHOWN_NAMES])
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    hint = "the setting EVENT_FIELDS makes the consumer read fields of other names"
    return InvalidEventError(
        "missing_field",
        f"The {fields} missing (there are: {there}{more}); {hint}."
        if names
        else f"The {fields} missing: the object is empty.",
    )


def is_blank(user_id: Any) -> bool:
    """Return True if a user_id consists of blanks alone, which counts as missing."""
    return type(user_id) is str and not user_id.strip()


def read_event_type(selected: SelectedFields) -> str:
    """Return the event type as it was sent. Raises InvalidEventError."""
    value = selected.values["event_type"]
    if type(value) is not str:
        raise _wrong_type(selected.label("event_type"), value, "a string")
    return _checked(selected.label("event_type"), value)


def read_user_id(selected: SelectedFields) -> str:
    """Return the user_id; an integer becomes its digits. Raises InvalidEventError."""
    value = selected.values["user_id"]
    text = user_id_text(value)
    if text is None:
        raise _wrong_type(selected.label("user_id"), value, "a string or an integer")
    return _checked(selected.label("user_id"), text)


def user_id_text(value: Any) -> str | None:
    """Return the visitor that a JSON value stands for: 42, 42.0 and "42" are the same one.

    Return None for a value that is neither a string nor an integer.
    """
    if type(value) is HugeNumber:
        return value.text
    return value if type(value) is str else integer_text(value)


def _checked(label: str, text: str) -> str:
    """Return the text unchanged: replacing or cutting parts of it would merge visitors or types."""
    if not is_storable(text):
        raise InvalidEventError(
            "bad_text", f"The field {label} contains NUL or half of a surrogate pair."
        )
    size = len(text.encode())
    if size > MAX_NAME_BYTES:
        raise InvalidEventError(
            "too_long", f"The field {label} has {size} bytes; {MAX_NAME_BYTES} are allowed."
        )
    return text


def _wrong_type(label: str, value: Any, wanted: str) -> InvalidEventError:
    return InvalidEventError("wrong_type", f"The field {label} is {kind_of(value)}, not {wanted}.")
