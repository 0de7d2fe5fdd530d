"""The table session_metrics: finding, deleting and writing sessions."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import NamedTuple

from clickstream.clients.postgres import Cursor
from clickstream.model.events import Key
from clickstream.model.sessions import SESSION_COLUMNS, Rule, Session
from clickstream.storage.copy_rows import copy, line
from clickstream.storage.event_table import EventRange

# An event range can touch the sessions that come within a timeout of it. A visitor's sessions do
# not overlap, so of those that start earlier than that only the last one can reach the range.
SELECT_NEARBY_SESSIONS = """
    SELECT r.number, latest.first_event_timestamp, latest.first_event_id,
           s.session_id, s.first_event_timestamp, s.first_event_id,
           s.last_event_timestamp, s.last_event_id
    FROM unnest(%(numbers)s::integer[], %(users)s::text[],
                %(from_times)s::timestamptz[], %(to_times)s::timestamptz[])
        AS r (number, user_id, from_time, to_time)
    CROSS JOIN LATERAL (
        SELECT first_event_timestamp, first_event_id FROM session_metrics
        WHERE user_id = r.user_id
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1
    ) AS latest
    LEFT JOIN LATERAL (
        (SELECT session_id, first_event_timestamp, first_event_id,
                last_event_timestamp, last_event_id
         FROM session_metrics
         WHERE user_id = r.user_id AND first_event_timestamp < r.from_time - %(timeout)s
         ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1)
        UNION ALL
        (SELECT session_id, first_event_timestamp, first_event_id,
                last_event_timestamp, last_event_id
         FROM session_metrics
         WHERE user_id = r.user_id
           AND first_event_timestamp BETWEEN r.from_time - %(timeout)s AND r.to_time + %(timeout)s)
    ) AS s ON s.last_event_timestamp >= r.from_time - %(timeout)s
"""
DELETE_SESSIONS = """
    DELETE FROM session_metrics WHERE session_id IN (
        SELECT session_id FROM session_metrics WHERE session_id = ANY (%s::uuid[])
        ORDER BY session_id FOR UPDATE)
"""
_COLUMN_LIST = ", ".join(SESSION_COLUMNS)
CREATE_STAGE_SESSIONS = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_sessions ON COMMIT DELETE ROWS
    AS SELECT {_COLUMN_LIST} FROM session_metrics WITH NO DATA
"""  # noqa: S608 - built of the column names alone
UPSERT_SESSIONS = f"""
    INSERT INTO session_metrics ({_COLUMN_LIST}, closed_at)
    SELECT {_COLUMN_LIST}, CASE WHEN close_reason IS NOT NULL THEN now() END FROM stage_sessions
    ON CONFLICT (session_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in SESSION_COLUMNS[1:])},
        closed_at = excluded.closed_at
"""  # noqa: S608


class StoredSession(NamedTuple):
    """Id, first and last event of a stored session."""

    session_id: str
    first: Key
    last: Key


class NearbySessions(NamedTuple):
    """A visitor's stored sessions near an event range.

    latest_start: the first event of the visitor's last session, which may be far away.
    sessions: those within a timeout of the range.
    """

    latest_start: Key
    sessions: list[StoredSession]


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
    for number, latest_time, latest_id, session_id, *keys in cursor:
        nearby = found[number]
        if nearby is None:
            nearby = found[number] = NearbySessions((latest_time, latest_id), [])
        if session_id is not None:
            first, last = (keys[0], keys[1]), (keys[2], keys[3])
            nearby.sessions.append(StoredSession(session_id, first, last))
    return found


def delete(cursor: Cursor, session_ids: Iterable[str]) -> None:
    """Delete sessions that no longer exist."""
    ids = sorted(session_ids)
    if ids:
        cursor.execute(DELETE_SESSIONS, (ids,))


def upsert(cursor: Cursor, sessions: Iterable[Session], rule: Rule) -> None:
    """Insert or replace sessions.

    A session is stored as closed if its last event is an end event, and otherwise as open.
    """
    rows = sorted((session.row(rule) for session in sessions), key=itemgetter(0))
    if rows:
        cursor.execute(CREATE_STAGE_SESSIONS)
        copy(cursor, "stage_sessions", map(line, rows))
        cursor.execute(UPSERT_SESSIONS)
