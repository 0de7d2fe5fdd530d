"""The table session_rule: the session rule that the stored sessions follow."""

from datetime import timedelta

from clickstream.clients.postgres import Cursor, only_row
from clickstream.errors import UserError
from clickstream.model.sessions import METRICS_VERSION, Rule
from clickstream.settings import Settings

INSERT_RULE = """
    INSERT INTO session_rule (timeout_seconds, start_events, end_events, version, metrics_version)
    VALUES (%s, %s, %s, 1, %s)
    ON CONFLICT DO NOTHING
"""
SELECT_RULE = "SELECT timeout_seconds, start_events, end_events, version FROM session_rule"
SELECT_METRICS_VERSION = "SELECT metrics_version FROM session_rule"
REPLACE_RULE = """
    INSERT INTO session_rule (timeout_seconds, start_events, end_events, version, metrics_version)
    VALUES (%s, %s, %s, 1, %s)
    ON CONFLICT (only_row) DO UPDATE
    SET timeout_seconds = excluded.timeout_seconds, start_events = excluded.start_events,
        end_events = excluded.end_events, version = session_rule.version + 1,
        metrics_version = excluded.metrics_version
"""
# A batch compares the version with that of its consumer's assignment.
FENCE_CONSUMERS = "UPDATE session_rule SET version = version + 1"


def rule_of(settings: Settings) -> Rule:
    """Return the session rule that the settings ask for."""
    return Rule(
        timedelta(seconds=settings.session_timeout_seconds),
        frozenset(settings.session_start_events),
        frozenset(settings.session_end_events),
    )


def read(cursor: Cursor) -> Rule | None:
    """Return the rule that the stored sessions follow, or None before the first consumer."""
    cursor.execute(SELECT_RULE)
    row = cursor.fetchone()
    if row is None:
        return None
    timeout, start_events, end_events, _ = row
    return Rule(timedelta(seconds=timeout), frozenset(start_events), frozenset(end_events))


def require_any(cursor: Cursor) -> Rule:
    """Return the rule that the stored sessions follow. Raises UserError if there is none yet."""
    rule = read(cursor)
    if rule is None:
        raise UserError("no consumer has stored a session rule yet; start one: python consumer.py")
    return rule


def read_version(cursor: Cursor) -> int:
    """Return the version of the stored rule, or 0 if there is none."""
    cursor.execute(SELECT_RULE)
    row = cursor.fetchone()
    return row[3] if row else 0


def adopt(cursor: Cursor, rule: Rule) -> int:
    """Store the rule if there is none, and return the version of the stored rule.

    Raises UserError as `require` does.
    """
    cursor.execute(INSERT_RULE, (*_values(rule), METRICS_VERSION))
    return require(cursor, rule)


def require(cursor: Cursor, rule: Rule) -> int:
    """Return the version of the stored rule, which must exist.

    Raises UserError if the stored sessions follow another rule, or if another version of the
    program computed their metrics in another way.
    """
    cursor.execute(SELECT_RULE)
    *stored, version = only_row(cursor)
    if tuple(stored) != _values(rule):
        raise UserError(
            f"the stored sessions follow another rule ({_settings_text(*stored)}) than the "
            f"settings ask for ({_settings_text(*_values(rule))}); either set the old values "
            "again, or recompute all sessions with: python create_schema.py --rebuild-sessions"
        )
    cursor.execute(SELECT_METRICS_VERSION)
    if only_row(cursor)[0] != METRICS_VERSION:
        raise UserError(
            "the metrics of the stored sessions come from another version of this program; "
            "recompute all sessions with: python create_schema.py --rebuild-sessions"
        )
    return int(version)


def replace(cursor: Cursor, rule: Rule) -> None:
    """Store another rule; the caller recomputes the sessions in the same transaction."""
    cursor.execute(REPLACE_RULE, (*_values(rule), METRICS_VERSION))


def _values(rule: Rule) -> tuple[int, list[str], list[str]]:
    return (
        int(rule.timeout.total_seconds()),
        sorted(rule.start_events),
        sorted(rule.end_events),
    )


def _settings_text(timeout: int, start_events: list[str], end_events: list[str]) -> str:
    return (
        f"SESSION_TIMEOUT_SECONDS={timeout} SESSION_START_EVENTS={','.join(start_events)} "
        f"SESSION_END_EVENTS={','.join(end_events)}"
    )
