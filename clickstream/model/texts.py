"""Texts: how text fields are read, and which characters can be stored."""

import re
from decimal import Decimal
from typing import Any

from clickstream.model.events import MAX_TEXT_CHARACTERS
from clickstream.model.json_records import HugeNumber, SentNumber

REPLACEMENT = "\ufffd"
_SHOWN_CHARACTERS = 80
# PostgreSQL cannot store NUL, and a lone surrogate has no UTF-8.
_find_unstorable = re.compile("[\0\ud800-\udfff]").search
_replace_unstorable = re.compile("[\0\ud800-\udfff]").sub


def read_text(value: Any) -> tuple[str | None, bool]:
    """Return the value of a text field, and True if it differs from what was sent."""
    text = value if type(value) is str else text_of_scalar(value)
    if text is None:
        return None, True
    stored = storable_text(text)[:MAX_TEXT_CHARACTERS]
    return stored, stored != text


def text_of_scalar(value: Any) -> str | None:
    """Return the JSON text of a number or a boolean, 42.0 as 42; None for anything else."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is SentNumber or type(value) is HugeNumber:
        return integer_text(value) or value.text
    return integer_text(value)


def integer_text(value: Any) -> str | None:
    """Return the digits of an integer, also one that was sent like 42.0; None for anything else."""
    if type(value) is int:
        return str(value)
    if type(value) is SentNumber and value.is_integer():
        exact = Decimal(value.text) if value else Decimal(0)
        if exact == int(exact):
            return str(int(exact))
    return None


def is_storable(text: str) -> bool:
    """Return False for a text with NUL or a lone surrogate."""
    return (text.isascii() and "\0" not in text) or _find_unstorable(text) is None


def storable_text(text: str) -> str:
    """Return the text with U+FFFD in place of NUL and of each lone surrogate."""
    return text if is_storable(text) else _replace_unstorable(REPLACEMENT, text)


def shown(value: object) -> str:
    """Return a value as it is shown in a sentence: at most 80 characters, all of them storable."""
    text = repr(value.text if type(value) is HugeNumber else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
