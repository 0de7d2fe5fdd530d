"""Booleans, sent as JSON booleans, as numbers or as text."""

from typing import Any

from clickstream.model.json_records import SentNumber

_BY_TEXT = {"true": True, "false": False, "1": True, "0": False}


def read_boolean(value: Any) -> tuple[bool | None, bool]:
    """Return the boolean, and True if the value cannot be read as one (then it is None)."""
    if type(value) is bool:
        return value, False
    if type(value) is str:
        found = _BY_TEXT.get(value.strip().lower())
    elif (type(value) is int or type(value) is SentNumber) and value in (0, 1):
        found = value == 1
    else:
        found = None
    return found, found is None
