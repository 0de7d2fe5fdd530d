"""The table session_metrics: finding, deleting and writing sessions.

If two transactions change the sessions of one visitor at once, the second one to write raises
SessionConflictError, and its batch is stored again while no other batch is (write_lock.py). Three
measures make sure of that:

1. Every change of a row sets its xid, and a row is replaced or deleted only if its xid is still the
   one that was read. The xid is read before the events of the session, and it is set in the
   transaction that stores those events. So no session is computed without some of its events.
2. A new session also touches (sets the xid of) the visitor's session before it or, if there is none
   before it, the visitor's last one. A session that grows keeps its row, or is a new session if its
   first event changes. So two transactions whose sessions would join or split each other both
   change one row in common: the one that is known as the session before, or as the last one.
3. A visitor without sessions has no row that both could change. A transaction that stores the first
   session checks before its commit, under a lock, that no other one has: of two, the second sees
   the first.

The only owner of partitions leaves out 2 and 3: it stores two batches at once only if they have no
visitor in common. Until its commit nobody else can acquire a partition (positions.lock), and
whoever does so later reads what it has stored. A consumer that becomes the only owner first drops
the sessions that it has read before (Database.acquire).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

import orjson
from psycopg2.errors import UniqueViolation

from clickstream.clients.postgres import Cursor, only_row
from clickstream.model.events import Key
from clickstream.model.sessions import (
    ARRAY_COLUMNS,
    CHANGING_COLUMNS,
    SESSION_COLUMNS,
    Rule,
    Session,
    changing_values,
    row_of,
)
from clickstream.storage.copy_rows import copy
from clickstream.storage.event_table import EventRange

# Each visitor's last session. Visitors are sent as JSON text, which takes psycopg2 less time than a
# list.
SELECT_LAST_SESSIONS = """
    SELECT visitors.user_id, latest.session_id, latest.xid,
           latest.last_event_timestamp, latest.total_events
    FROM json_array_elements_text(%(users)s) AS visitors (user_id)
    CROSS JOIN LATERAL (
        SELECT session_id, xid, last_event_timestamp, total_events FROM session_metrics
        WHERE user_id = visitors.user_id
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1
    ) AS latest
"""
# An event range can touch the sessions that come within a timeout of it. A visitor's sessions do
# not overlap, so of those that start earlier than that only the last one can reach the range. If it
# does not, it is the session before the gap.
SELECT_NEARBY_SESSIONS = """
    SELECT r.number, latest.first_event_timestamp, latest.first_event_id,
           latest.session_id, latest.xid,
           s.last_event_timestamp >= r.from_time - %(timeout)s,
           s.session_id, s.xid, s.first_event_timestamp, s.first_event_id,
           s.last_event_timestamp, s.last_event_id
    FROM unnest(%(numbers)s::integer[], %(users)s::text[],
                %(from_times)s::timestamptz[], %(to_times)s::timestamptz[])
        AS r (number, user_id, from_time, to_time)
    CROSS JOIN LATERAL (
        SELECT first_event_timestamp, first_event_id, session_id, xid FROM session_metrics
        WHERE user_id = r.user_id
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1
    ) AS latest
    LEFT JOIN LATERAL (
        (SELECT session_id, xid, first_event_timestamp, first_event_id,
                last_event_timestamp, last_event_id
         FROM session_metrics
         WHERE user_id = r.user_id AND first_event_timestamp < r.from_time - %(timeout)s
         ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1)
        UNION ALL
        (SELECT session_id, xid, first_event_timestamp, first_event_id,
                last_event_timestamp, last_event_id
         FROM session_metrics
         WHERE user_id = r.user_id
           AND first_event_timestamp BETWEEN r.from_time - %(timeout)s AND r.to_time + %(timeout)s)
    ) AS s ON true
"""
_UNCHANGED = """
    WITH unchanged AS (
        SELECT session_id FROM session_metrics
        JOIN unnest(%(ids)s::uuid[], %(xids)s::xid8[]) AS read (session_id, xid)
            USING (session_id, xid)
        ORDER BY session_id FOR UPDATE OF session_metrics)
"""
DELETE_UNCHANGED = f"""
    {_UNCHANGED}
    DELETE FROM session_metrics WHERE session_id IN (SELECT session_id FROM unchanged)
"""  # noqa: S608 - built of constants
TOUCH_UNCHANGED = f"""
    {_UNCHANGED}
    UPDATE session_metrics SET xid = pg_current_xact_id()
    WHERE session_id IN (SELECT session_id FROM unchanged)
"""  # noqa: S608 - built of constants
# The table and the columns that COPY fills with new sessions.
NEW_SESSIONS = f"session_metrics ({', '.join(SESSION_COLUMNS)}, closed_at)"
# In the text of a row, PostgreSQL reads this as now().
NOW = "now"
CREATE_STAGE_AND_SELECT_XID = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_sessions ON COMMIT DELETE ROWS
    AS SELECT session_id, xid, {", ".join(CHANGING_COLUMNS)} FROM session_metrics WITH NO DATA;
    SELECT pg_current_xact_id()
"""  # noqa: S608 - built of the column names alone
# To send and write again 1 MiB of arrays that did not change would take half a second.
_NEW_VALUES = ", ".join(
    f"{name} = coalesce(s.{name}, m.{name})" if name in ARRAY_COLUMNS else f"{name} = s.{name}"
    for name in CHANGING_COLUMNS
)
UPDATE_UNCHANGED = f"""
    UPDATE session_metrics m
    SET {_NEW_VALUES},
        closed_at = CASE WHEN s.close_reason IS NOT NULL THEN now() END,
        xid = pg_current_xact_id()
    FROM stage_sessions s WHERE m.session_id = s.session_id AND m.xid = s.xid
"""  # noqa: S608
# The number is arbitrary; it spells "first".
FIRST_SESSIONS_LOCK = 0x6669727374
LOCK_FIRST_SESSIONS = f"SELECT pg_advisory_xact_lock({FIRST_SESSIONS_LOCK})"
# True if another transaction has stored a session of these visitors. LIMIT makes PostgreSQL use the
# index: usually there is no such session, but PostgreSQL expects to find one soon in any order.
HAVE_OTHER_SESSIONS = """
    SELECT EXISTS (SELECT FROM json_array_elements_text(%(users)s) AS visitors (user_id)
                   CROSS JOIN LATERAL (
                       SELECT FROM session_metrics
                       WHERE user_id = visitors.user_id AND xid <> pg_current_xact_id()
                       LIMIT 1) AS other)
"""


class SessionConflictError(Exception):
    """Raised when another consumer has changed sessions since they were read."""


class RowVersion(NamedTuple):
    """A stored session, and the transaction that last changed its row."""

    session_id: str
    xid: str


class StoredSession(NamedTuple):
    """A stored session, with its first and last event."""

    version: RowVersion
    first: Key
    last: Key


class LastSession(NamedTuple):
    """A visitor's last stored session: its version, the time of its last event, its size."""

    version: RowVersion
    end: datetime
    total_events: int


class NearbySessions(NamedTuple):
    """A visitor's stored sessions near an event range.

    latest_start: the first event of the visitor's last session, which may be far away.
    sessions: those within a timeout of the range.
    to_touch: the session before all these and the range, or the visitor's last one if there is none
    before; for a range that begins with a new session.
    """

    latest_start: Key
    sessions: list[StoredSession]
    to_touch: RowVersion


def read_last(cursor: Cursor, visitors: Collection[str]) -> dict[str, LastSession]:
    """Return each visitor's last session; visitors without a stored session are left out."""
    if not visitors:
        return {}
    cursor.execute(SELECT_LAST_SESSIONS, {"users": _json_of(visitors)})
    return {
        user_id: LastSession(RowVersion(session_id, xid), end, total_events)
        for user_id, session_id, xid, end, total_events in cursor
    }


def find_nearby(
    cursor: Cursor, ranges: Sequence[EventRange], timeout: timedelta
) -> list[NearbySessions | None]:
    """Return for each range the visitor's stored sessions near it.

    The result has the order of the ranges, with None for a visitor without any stored session.
    """
    cursor.execute(
        SELECT_NEARBY_SESSIONS,
        {
            "numbers": list(range(len(ranges))),
            "users": [event_range.user_id for event_range in ranges],
            "from_times": [event_range.first[0] for event_range in ranges],
            "to_times": [event_range.last[0] for event_range in ranges],
            "timeout": timeout,
        },
    )
    found: list[NearbySessions | None] = [None] * len(ranges)
    for number, *row in cursor:
        latest_start, latest_version = (row[0], row[1]), RowVersion(row[2], row[3])
        nearby = found[number]
        if nearby is None:
            nearby = found[number] = NearbySessions(latest_start, [], latest_version)
        is_near, version = row[4], RowVersion(row[5], row[6])
        if is_near:
            first, last = (row[7], row[8]), (row[9], row[10])
            nearby.sessions.append(StoredSession(version, first, last))
        elif is_near is not None:
            found[number] = nearby._replace(to_touch=version)
    return found


def delete(cursor: Cursor, sessions: Collection[RowVersion]) -> None:
    """Delete sessions that no longer exist. Raises SessionConflictError if one was changed."""
    _change_unchanged(cursor, DELETE_UNCHANGED, sessions)


def touch(cursor: Cursor, sessions: Collection[RowVersion]) -> None:
    """Set only the xid of sessions. Raises SessionConflictError if one was changed."""
    _change_unchanged(cursor, TOUCH_UNCHANGED, sessions)


def _change_unchanged(cursor: Cursor, statement: str, sessions: Collection[RowVersion]) -> None:
    if not sessions:
        return
    ids, xids = map(list, zip(*sessions, strict=True))
    cursor.execute(statement, {"ids": ids, "xids": xids})
    if cursor.rowcount != len(sessions):
        raise SessionConflictError


def write(cursor: Cursor, sessions: Collection[Session], rule: Rule) -> None:
    """Insert new sessions, update stored ones, and set their stored_xid.

    A session is stored as closed if its last event is an end event, and otherwise as open.
    Raises SessionConflictError if a new one is stored already, or a stored one was changed.
    """
    if not sessions:
        return
    cursor.execute(CREATE_STAGE_AND_SELECT_XID)
    (xid,) = only_row(cursor)
    in_order = sorted(sessions, key=attrgetter("session_id"))
    # Both build a row when it is copied: lists of rows would leave the processor's cache before.
    _insert(cursor, [each for each in in_order if each.stored_xid is None], rule)
    _update(cursor, [each for each in in_order if each.stored_xid is not None], rule)
    for session in sessions:
        session.mark_stored(xid)


def _insert(cursor: Cursor, sessions: Sequence[Session], rule: Rule) -> None:
    """Insert new sessions. sessions: in the order of their ids."""
    if sessions:
        rows = (row_of(each, rule) for each in sessions)
        with_closed_at = ((*row, None if row[-1] is None else NOW) for row in rows)
        try:
            copy(cursor, NEW_SESSIONS, with_closed_at)
        except UniqueViolation:
            raise SessionConflictError from None


def _update(cursor: Cursor, sessions: Sequence[Session], rule: Rule) -> None:
    """Update stored sessions. sessions: in the order of their ids."""
    if sessions:
        rows = (
            (each.session_id, each.stored_xid, *changing_values(each, rule)) for each in sessions
        )
        copy(cursor, "stage_sessions", rows)
        cursor.execute(UPDATE_UNCHANGED)
        if cursor.rowcount != len(sessions):
            raise SessionConflictError


def check_first_sessions(cursor: Cursor, visitors: Collection[str]) -> None:
    """Check that nobody else has stored a session of visitors who had none; call it last.

    Until the commit that must follow, nobody else can do this check.
    Raises SessionConflictError if somebody has.
    """
    if not visitors:
        return
    cursor.execute(LOCK_FIRST_SESSIONS)
    cursor.execute(HAVE_OTHER_SESSIONS, {"users": _json_of(visitors)})
    if only_row(cursor)[0]:
        raise SessionConflictError


def _json_of(visitors: Collection[str]) -> str:
    return orjson.dumps(list(visitors)).decode()
