"""The table event_retention: the time from which events are kept.

An event before kept_from that is not stored is not accepted. Sessions whose last event is before
removed_before are removed, with their events. kept_from is at least one session timeout later, so
no event that is accepted can belong to a session that was removed.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from clickstream.clients.postgres import Cursor
from clickstream.durations import format_duration
from clickstream.errors import UserError

SELECT_RETENTION = "SELECT kept_from, removed_before FROM event_retention"
REPLACE_RETENTION = """
    INSERT INTO event_retention (kept_from, removed_before) VALUES (%s, %s)
    ON CONFLICT (only_row) DO UPDATE
    SET kept_from = excluded.kept_from, removed_before = excluded.removed_before
"""
# Returns True if not even an event of now would be accepted.
ADVANCE_KEPT_FROM = """
    UPDATE event_retention SET kept_from = greatest(kept_from, removed_before + %s)
    RETURNING kept_from > now()
"""


class Retention(NamedTuple):
    """The limits of what is kept; both only move forward."""

    kept_from: datetime
    removed_before: datetime


def read(cursor: Cursor) -> Retention | None:
    """Return the stored limits, or None if all events are kept."""
    cursor.execute(SELECT_RETENTION)
    row = cursor.fetchone()
    return None if row is None else Retention(*row)


def read_kept_from(cursor: Cursor) -> datetime | None:
    """Return the time from which events are kept, or None if all are."""
    stored = read(cursor)
    return stored and stored.kept_from


def plan(cursor: Cursor, kept_from: datetime, timeout: timedelta) -> Retention:
    """Return the limits that keep the events from this time on; never earlier than those stored.

    timeout: that of the stored session rule.
    """
    stored = read(cursor)
    if stored is None:
        return Retention(kept_from, kept_from - timeout)
    kept_from = max(kept_from, stored.kept_from)
    return Retention(kept_from, max(kept_from - timeout, stored.removed_before))


def replace(cursor: Cursor, retention: Retention) -> None:
    """Store the limits; the caller keeps consumers out and makes them drop their caches."""
    cursor.execute(REPLACE_RETENTION, retention)


def allow_timeout(cursor: Cursor, timeout: timedelta) -> None:
    """Move kept_from forward if it is less than a new session timeout after removed_before.

    The caller keeps consumers out. Raises UserError if kept_from would be in the future.
    """
    cursor.execute(ADVANCE_KEPT_FROM, (timeout,))
    if cursor.fetchone() == (True,):
        raise UserError(
            f"with a timeout of {format_duration(timeout)}, new events could belong to sessions "
            "that retain has removed; set a shorter SESSION_TIMEOUT_SECONDS, or wait until the "
            "removed sessions are older than that"
        )
