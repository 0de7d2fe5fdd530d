"""All sessions recomputed from the stored events, by another rule or to repair them.

One transaction, in which no consumer writes: before it everything follows the old rule, after it
everything the new one, and consumers start afresh from what is stored.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from clickstream.clients.postgres import Connection, Cursor, connect_or_explain
from clickstream.model.sessions import COLUMNS, Rule, session_id
from clickstream.settings import Settings
from clickstream.storage import session_rule, stored_rule
from clickstream.storage.copy_rows import copy, line
from clickstream.storage.positions import stop_writers
from clickstream.storage.session_table import FORGET_INDEX, INDEX_IS_FOLLOWED
from clickstream.storage.stored_rule import rule_of

ROWS_AT_ONCE = 10_000

CREATE_RECOMPUTED = "CREATE TEMPORARY TABLE recomputed_sessions ON COMMIT DROP AS "
RECOMPUTED = "SELECT row_number() OVER () AS number, recomputed.* FROM recomputed"
FIRST_EVENTS = """
    SELECT number, user_id, first_event_timestamp, first_event_id FROM recomputed_sessions
"""
CREATE_IDS = """
    CREATE TEMPORARY TABLE recomputed_ids (number bigint NOT NULL, session_id uuid NOT NULL)
    ON COMMIT DROP
"""
_NAMES = ", ".join(COLUMNS)
_METRICS = ", ".join(name for name in COLUMNS if name != "close_reason")
# A session that ends as it did before keeps its status; closing decides about the others.
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
CREATE_SAME = f"""
    CREATE TEMPORARY TABLE same_sessions ON COMMIT DROP AS
    SELECT session_id
    FROM (SELECT {_NAMES}, closed_at FROM session_metrics
          INTERSECT
          SELECT {_NAMES}, closed_at FROM rebuilt_sessions) AS same
"""  # noqa: S608
# What is called removed is deleted from the index only where it is absent here.
NOTE_CHANGES = f"""
    INSERT INTO session_changes (user_id, from_time, to_time, removed)
    SELECT user_id, first_event_timestamp, last_event_timestamp, removed
    FROM (SELECT session_id, user_id, first_event_timestamp, last_event_timestamp,
                 ARRAY[session_id] AS removed
          FROM session_metrics
          UNION ALL
          SELECT session_id, user_id, first_event_timestamp, last_event_timestamp, '{{}}'
          FROM rebuilt_sessions) AS sessions
    WHERE {INDEX_IS_FOLLOWED}
      AND NOT EXISTS (SELECT FROM same_sessions same WHERE same.session_id = sessions.session_id)
"""  # noqa: S608 - built of constants
# With more changes than that the index is filled anew, which goes step by step.
MOST_CHANGES_NOTED = 20_000
DELETE_OLD = """
    DELETE FROM session_metrics AS old
    WHERE NOT EXISTS (SELECT FROM same_sessions same WHERE same.session_id = old.session_id)
"""
INSERT_NEW = f"""
    INSERT INTO session_metrics ({_NAMES}, closed_at)
    SELECT {_NAMES}, closed_at
    FROM rebuilt_sessions AS new
    WHERE NOT EXISTS (SELECT FROM same_sessions same WHERE same.session_id = new.session_id)
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Numbers of sessions: left as they were, deleted or replaced, and written."""

    same: int
    deleted: int
    written: int


def rebuild_sessions(settings: Settings) -> str:
    """Recompute all sessions by the rule of the settings; a sentence of what was done."""
    with closing(connect_or_explain(settings, application="clickstream rebuild")) as connection:
        rebuilt = rebuild(connection, rule_of(settings))
    return (
        f"All sessions follow a timeout of {settings.session_timeout_seconds} s"
        f"{_boundaries('start', settings.session_start_events)}"
        f"{_boundaries('end', settings.session_end_events)}: {rebuilt.same:,} of them were right "
        f"before, {rebuilt.deleted:,} were replaced or deleted, {rebuilt.written:,} written."
    )


def _boundaries(kind: str, types: tuple[str, ...]) -> str:
    return f", {kind} events {', '.join(types)}" if types else ""


def rebuild(connection: Connection, rule: Rule) -> Rebuilt:
    """Recompute all sessions by a rule, which becomes the stored one.

    1. Keep consumers out and end their caches. 2. Store the rule. 3. Recompute. 4. Replace what
    differs, telling the search follower. 5. Commit.
    """
    with connection, connection.cursor() as cursor:
        stop_writers(cursor)
        stored_rule.replace(cursor, rule)
        _recompute(cursor, rule)
        _add_ids(connection, cursor)
        cursor.execute(CREATE_REBUILT)
        return _replace(cursor)


def _recompute(cursor: Cursor, rule: Rule) -> None:
    cursor.execute(session_rule.PREPARE)
    cursor.execute(
        CREATE_RECOMPUTED + session_rule.statement(RECOMPUTED), session_rule.parameters(rule)
    )


def _add_ids(connection: Connection, cursor: Cursor) -> None:
    """PostgreSQL alone has no SHA-1, so the ids are made here."""
    cursor.execute(CREATE_IDS)
    for lines in _id_lines(connection):
        copy(cursor, "recomputed_ids", lines)


def _id_lines(connection: Connection) -> Iterator[list[str]]:
    with connection.cursor("first_events") as reader:
        reader.execute(FIRST_EVENTS)
        while rows := reader.fetchmany(ROWS_AT_ONCE):
            yield [line((number, session_id(*first))) for number, *first in rows]


def _replace(cursor: Cursor) -> Rebuilt:
    cursor.execute(CREATE_SAME)
    same = cursor.rowcount
    cursor.execute(NOTE_CHANGES)
    if cursor.rowcount > MOST_CHANGES_NOTED:
        cursor.execute(FORGET_INDEX)
    cursor.execute(DELETE_OLD)
    deleted = cursor.rowcount
    cursor.execute(INSERT_NEW)
    return Rebuilt(same, deleted, cursor.rowcount)
