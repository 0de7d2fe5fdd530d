"""Layouts in which other tools write a truth file again."""

import json
from collections.abc import Callable
from typing import Any


def _reversed(value: Any) -> Any:
    """Return JSON with the members of all objects in reverse order."""
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(each) for each in value] if isinstance(value, list) else value


TRUTH_LAYOUTS: dict[str, Callable[[Any], str]] = {
    "indented, as by jq .": lambda truth: json.dumps(truth, indent=2, ensure_ascii=False),
    "compact, as by jq -c .": lambda truth: json.dumps(truth, separators=(",", ":")),
    "sorted, as by jq -S .": lambda truth: json.dumps(truth, indent=2, sort_keys=True),
    "sessions first": lambda truth: json.dumps(_reversed(truth)),
}
