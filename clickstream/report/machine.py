"""The same figures for machines: JSON whose keys are the names of the fields."""

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any


def as_json(figures: Any) -> str:
    """A dataclass as JSON: times in ISO 8601 with zone, decimals as strings, lengths in seconds.

    Only ASCII, so that no text of a visitor can steer a terminal.
    """
    return json.dumps(asdict(figures), indent=2, default=_value)


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
