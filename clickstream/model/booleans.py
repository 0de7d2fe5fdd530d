"""True and false, as JSON, numbers and text say it."""

from typing import Any

from clickstream.model.json_records import SentNumber

_BY_TEXT = {"true": True, "false": False, "1": True, "0": False}


def read_boolean(value: Any) -> tuple[bool | None, bool]:
    """Return true or false, and True if what was sent cannot be read as one of them."""
    if type(value) is bool:
        return value, False
    if type(value) is str:
        found = _BY_TEXT.get(value.strip().lower())
    elif (type(value) is int or type(value) is SentNumber) and value in (0, 1):
        found = value == 1
    else:
        found = None
    return found, found is None
