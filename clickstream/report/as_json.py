"""Figures as JSON whose keys are the names of the fields."""

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo


def as_json(figures: Any) -> str:
    """Return a dataclass as indented JSON.

    Times are ISO 8601 in UTC, decimals are strings, timedeltas are seconds. The text is ASCII,
    so no text of a visitor can control a terminal.
    """
    return json.dumps(asdict(figures), indent=2, default=_value)


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | ZoneInfo):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
