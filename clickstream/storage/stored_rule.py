"""The session rule that the tables follow, stored beside them."""

from datetime import timedelta

from clickstream.clients.postgres import Cursor, only_row
from clickstream.errors import UserError
from clickstream.model.sessions import Rule
from clickstream.settings import Settings

ADD = """
    INSERT INTO session_rule (timeout_seconds, start_events, end_events, version)
    VALUES (%s, %s, %s, 1)
    ON CONFLICT DO NOTHING
"""
READ = "SELECT timeout_seconds, start_events, end_events, version FROM session_rule"
REPLACE = """
    INSERT INTO session_rule (timeout_seconds, start_events, end_events, version)
    VALUES (%s, %s, %s, 1)
    ON CONFLICT (only_row) DO UPDATE
    SET timeout_seconds = excluded.timeout_seconds, start_events = excluded.start_events,
        end_events = excluded.end_events, version = session_rule.version + 1
"""


def rule_of(settings: Settings) -> Rule:
    """Return the session rule that the settings ask for."""
    return Rule(
        timedelta(seconds=settings.session_timeout_seconds),
        frozenset(settings.session_start_events),
        frozenset(settings.session_end_events),
    )


def adopt(cursor: Cursor, rule: Rule) -> int:
    """The version of the stored rule, which becomes `rule` where none is stored yet.

    Raises UserError where the tables follow another rule.
    """
    cursor.execute(ADD, _columns(rule))
    cursor.execute(READ)
    timeout, starts, ends, version = only_row(cursor)
    if (timeout, starts, ends) != _columns(rule):
        raise UserError(
            f"the stored sessions follow another rule ({_words(timeout, starts, ends)}) than the "
            f"settings ask for ({_words(*_columns(rule))}); either set the old values again, or "
            "recompute all sessions with: python create_schema.py --rebuild-sessions"
        )
    return int(version)


def version(cursor: Cursor) -> int:
    """The version of the stored rule; 0 where there is none."""
    cursor.execute(READ)
    row = cursor.fetchone()
    return row[3] if row else 0


def replace(cursor: Cursor, rule: Rule) -> None:
    """Store another rule; the caller recomputes the sessions in the same transaction."""
    cursor.execute(REPLACE, _columns(rule))


def _columns(rule: Rule) -> tuple[int, list[str], list[str]]:
    return (
        int(rule.timeout.total_seconds()),
        sorted(rule.start_events),
        sorted(rule.end_events),
    )


def _words(timeout: int, starts: list[str], ends: list[str]) -> str:
    return (
        f"SESSION_TIMEOUT_SECONDS={timeout} SESSION_START_EVENTS={','.join(starts)} "
        f"SESSION_END_EVENTS={','.join(ends)}"
    )
