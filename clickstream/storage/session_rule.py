"""The session rule in SQL: statements that recompute sessions begin with session_rule.sql."""

from pathlib import Path
from typing import Any

from clickstream.model.sessions import Rule

RULE_FILE = Path(__file__).with_name("session_rule.sql")

# The rule sorts every event. With less memory the sort makes more passes over the disk; reading
# the events in the order of an index instead visits a disk page for each event. By default, a
# server-side cursor is planned for its first tenth of the rows.
SET_PLANNER_OPTIONS = """
    SET LOCAL work_mem = '64MB';
    SET LOCAL enable_indexscan = off;
    SET LOCAL cursor_tuple_fraction = 1
"""


def statement(ending: str) -> str:
    """Return the rule followed by `ending`, a SELECT from its tables `recomputed` and `stored`.

    Run it with the values of `parameters`, after SET_PLANNER_OPTIONS.
    """
    return RULE_FILE.read_text(encoding="utf-8") + ending


def parameters(rule: Rule, *, negative_hash: bool | None = None) -> dict[str, Any]:
    """Return the values that a statement beginning with the rule needs.

    negative_hash: True or False for about half of the visitors each, None for all of them.
    """
    return {
        "negative_hash": negative_hash,
        "timeout": rule.timeout,
        "start_events": sorted(rule.start_events),
        "end_events": sorted(rule.end_events),
    }
