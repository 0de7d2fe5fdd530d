"""Recomputing all sessions from the stored events, for another session rule or as a repair.

It is one transaction in which no consumer writes: before it all sessions follow the old rule,
after it the new one. The consumers drop their caches and continue from the tables.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from clickstream.clients.postgres import Connection, Cursor, connect_or_explain
from clickstream.model.sessions import SESSION_COLUMNS, Rule, session_id
from clickstream.settings import Settings
from clickstream.storage import (
    change_log,
    event_retention,
    session_rule,
    stored_rule,
    write_lock,
)
from clickstream.storage.copy_rows import copy
from clickstream.storage.stored_rule import rule_of

FETCHED_KEYS = 10_000

CREATE_RECOMPUTED = "CREATE TEMPORARY TABLE recomputed_sessions ON COMMIT DROP AS "
SELECT_RECOMPUTED = "SELECT row_number() OVER () AS number, recomputed.* FROM recomputed"
SELECT_FIRST_EVENTS = """
    SELECT number, user_id, first_event_timestamp, first_event_id FROM recomputed_sessions
"""
CREATE_IDS = """
    CREATE TEMPORARY TABLE recomputed_ids (number bigint NOT NULL, session_id uuid NOT NULL)
    ON COMMIT DROP
"""
_COLUMN_LIST = ", ".join(SESSION_COLUMNS)
_METRICS = ", ".join(name for name in SESSION_COLUMNS if name != "close_reason")
# A session with the same last event as before keeps its status. The next closing decides on the
# others.
CREATE_REBUILT = f"""
    CREATE TEMPORARY TABLE rebuilt_sessions ON COMMIT DROP AS
    SELECT {_METRICS},
           CASE WHEN ended_by_event THEN 'end_event'
                WHEN before.close_reason = 'timeout' THEN 'timeout' END AS close_reason,
           CASE WHEN ended_by_event THEN coalesce(before.closed_at, now())
                WHEN before.close_reason = 'timeout' THEN before.closed_at END AS closed_at
    FROM recomputed_sessions
    JOIN recomputed_ids USING (number)
    LEFT JOIN (SELECT session_id, last_event_timestamp, last_event_id, close_reason, closed_at
               FROM session_metrics) AS before
        USING (session_id, last_event_timestamp, last_event_id)
"""  # noqa: S608 - built of the column names alone
CREATE_UNCHANGED = f"""
    CREATE TEMPORARY TABLE unchanged_sessions ON COMMIT DROP AS
    SELECT session_id
    FROM (SELECT {_COLUMN_LIST}, closed_at FROM session_metrics
          INTERSECT
          SELECT {_COLUMN_LIST}, closed_at FROM rebuilt_sessions) AS unchanged
"""  # noqa: S608
# A replaced session is logged as removed too: the indexer deletes only ids that are not stored.
LOG_CHANGED = f"""
    INSERT INTO session_changes (user_id, from_time, to_time, removed)
    SELECT user_id, first_event_timestamp, last_event_timestamp, removed
    FROM (SELECT session_id, user_id, first_event_timestamp, last_event_timestamp,
                 ARRAY[session_id] AS removed
          FROM session_metrics
          UNION ALL
          SELECT session_id, user_id, first_event_timestamp, last_event_timestamp, '{{}}'
          FROM rebuilt_sessions) AS sessions
    WHERE {change_log.IS_LOGGED}
      AND NOT EXISTS (SELECT FROM unchanged_sessions u WHERE u.session_id = sessions.session_id)
"""  # noqa: S608 - built of constants
# With more changes a backfill is better: it is done in small steps.
MAX_LOGGED_CHANGES = 20_000
DELETE_CHANGED = """
    DELETE FROM session_metrics AS old
    WHERE NOT EXISTS (SELECT FROM unchanged_sessions u WHERE u.session_id = old.session_id)
"""
INSERT_CHANGED = f"""
    INSERT INTO session_metrics ({_COLUMN_LIST}, closed_at)
    SELECT {_COLUMN_LIST}, closed_at
    FROM rebuilt_sessions AS new
    WHERE NOT EXISTS (SELECT FROM unchanged_sessions u WHERE u.session_id = new.session_id)
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Numbers of sessions: unchanged, deleted or replaced, and written."""

    unchanged: int
    deleted: int
    written: int


def rebuild_sessions(settings: Settings) -> str:
    """Recompute all sessions by the rule of the settings, and return a sentence about the result.

    Raises UserError if PostgreSQL cannot be reached or a consumer does not stop writing.
    """
    with closing(connect_or_explain(settings, application="clickstream rebuild")) as connection:
        rebuilt = rebuild(connection, rule_of(settings))
    return (
        f"All sessions follow a timeout of {settings.session_timeout_seconds} s"
        f"{_event_types('start', settings.session_start_events)}"
        f"{_event_types('end', settings.session_end_events)}: {rebuilt.unchanged:,} were unchanged"
        f", {rebuilt.deleted:,} were replaced or deleted, {rebuilt.written:,} were written."
    )


def _event_types(kind: str, types: tuple[str, ...]) -> str:
    return f", {kind} events {', '.join(types)}" if types else ""


def rebuild(connection: Connection, rule: Rule) -> Rebuilt:
    """Recompute all sessions by a rule, which becomes the stored rule.

    1. Keep consumers out and make them drop their caches. 2. Store the rule. 3. Recompute.
    4. Replace the sessions that differ, and log that for the indexer. 5. Commit.
    """
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        stored_rule.replace(cursor, rule)
        event_retention.allow_timeout(cursor, rule.timeout)
        _recompute(cursor, rule)
        _add_ids(connection, cursor)
        cursor.execute(CREATE_REBUILT)
        return _replace(cursor)


def _recompute(cursor: Cursor, rule: Rule) -> None:
    cursor.execute(session_rule.SET_PLANNER_OPTIONS)
    statement = CREATE_RECOMPUTED + session_rule.statement(SELECT_RECOMPUTED)
    cursor.execute(statement, session_rule.parameters(rule))


def _add_ids(connection: Connection, cursor: Cursor) -> None:
    """Fill recomputed_ids; in Python, because PostgreSQL without extensions has no SHA-1."""
    cursor.execute(CREATE_IDS)
    for rows in _id_rows(connection):
        copy(cursor, "recomputed_ids", rows)


def _id_rows(connection: Connection) -> Iterator[list[tuple[int, str]]]:
    with connection.cursor("first_events") as reader:
        reader.execute(SELECT_FIRST_EVENTS)
        while rows := reader.fetchmany(FETCHED_KEYS):
            yield [(number, session_id(*first)) for number, *first in rows]


def _replace(cursor: Cursor) -> Rebuilt:
    cursor.execute(CREATE_UNCHANGED)
    unchanged = cursor.rowcount
    cursor.execute(LOG_CHANGED)
    if cursor.rowcount > MAX_LOGGED_CHANGES:
        cursor.execute(change_log.DELETE_CHECKPOINT)
    cursor.execute(DELETE_CHANGED)
    deleted = cursor.rowcount
    cursor.execute(INSERT_CHANGED)
    return Rebuilt(unchanged, deleted, cursor.rowcount)
