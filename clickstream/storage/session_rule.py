"""The session rule in SQL: what proves, recomputes and compares sessions begins with it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from clickstream.clients.postgres import Cursor
from clickstream.model.sessions import Rule
from clickstream.storage import stored_rule

RULE_FILE = Path(__file__).with_name("session_rule.sql")

# The rule sorts every event: less memory makes more passes over the disk, and reading them in the
# order of an index instead visits a page of the disk for each. A cursor is planned for its first
# tenth of the rows unless told otherwise.
PREPARE = """
    SET LOCAL work_mem = '64MB';
    SET LOCAL enable_indexscan = off;
    SET LOCAL cursor_tuple_fraction = 1
"""


def statement(ending: str) -> str:
    """The rule, going on with a SELECT from its tables `recomputed` and `stored`.

    Its parameters are those of `parameters`.
    """
    return RULE_FILE.read_text(encoding="utf-8") + ending


def parameters(rule: Rule) -> dict[str, Any]:
    """What a statement that begins with the rule has to be given."""
    return {
        "timeout": rule.timeout,
        "start_events": sorted(rule.start_events),
        "end_events": sorted(rule.end_events),
    }


def of_tables(cursor: Cursor) -> Rule | None:
    """The rule that the stored sessions follow; None before the first consumer."""
    cursor.execute(stored_rule.READ)
    row = cursor.fetchone()
    if row is None:
        return None
    timeout, starts, ends, _ = row
    return Rule(timedelta(seconds=timeout), frozenset(starts), frozenset(ends))
