"""The sessions under another timeout, compared with the stored ones."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from clickstream.clients.postgres import Connection, Cursor
from clickstream.durations import format_time, since_time
from clickstream.errors import UserError
from clickstream.model.sessions import Rule
from clickstream.storage import session_rule, stored_rule
from clickstream.storage.query_rows import Row, as_dataclass, select_rows
from clickstream.storage.snapshot import snapshot, snapshot_time

# The figures of the stored and of the recomputed sessions, a row each; follows the session rule.
SELECT_BOTH_FIGURES = """
    SELECT version, count(*) AS sessions,
           avg(total_events)::double precision AS events_mean,
           avg(extract(epoch FROM last_event_timestamp - first_event_timestamp)
               ::double precision / 60) AS duration_mean,
           avg(is_bounce::integer)::double precision AS bounce_rate
    FROM (SELECT 'current' AS version, total_events, first_event_timestamp, last_event_timestamp,
                 is_bounce
          FROM stored
          UNION ALL
          SELECT 'other', total_events, first_event_timestamp, last_event_timestamp, is_bounce
          FROM recomputed) AS sessions
    WHERE first_event_timestamp >= %(since)s
    GROUP BY version
"""
NO_SESSIONS = "there are no sessions yet; run python consumer.py and python producer.py first"
NO_SESSIONS_SINCE = "no session began since {}; give --since an earlier time"


@dataclass(frozen=True, slots=True)
class TimeoutFigures:
    """Sessions under one timeout. duration_mean: minutes. bounce_rate: fraction of 1."""

    timeout_seconds: int | float
    sessions: int
    events_mean: float
    duration_mean: float
    bounce_rate: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Figures under the current and another timeout.

    since: only sessions that began from then on; None for all of them.
    """

    since: datetime | None
    current: TimeoutFigures
    other: TimeoutFigures


def what_if(
    connection: Connection, timeout: timedelta, since: timedelta | datetime | None
) -> WhatIf:
    """Compare the stored sessions with those of another timeout, in one snapshot.

    since: only sessions that began from then on; a duration counts back from now.
    connection: not in autocommit. Raises UserError if there are no sessions to compare.
    """
    with snapshot(connection) as cursor:
        start = since_time(snapshot_time(cursor), since)
        rule = stored_rule.read(cursor)
        found = _figures(cursor, rule, timeout, start) if rule else {}
    if rule is None or len(found) < 2:
        raise UserError(NO_SESSIONS_SINCE.format(format_time(start)) if start else NO_SESSIONS)
    return WhatIf(
        since=start,
        current=_timeout_figures(rule.timeout, found["current"]),
        other=_timeout_figures(timeout, found["other"]),
    )


def _figures(
    cursor: Cursor, rule: Rule, timeout: timedelta, since: datetime | None
) -> dict[str, Row]:
    cursor.execute(session_rule.SET_PLANNER_OPTIONS)
    values = session_rule.parameters(replace(rule, timeout=timeout))
    query = session_rule.statement(SELECT_BOTH_FIGURES)
    found = select_rows(cursor, query, values | {"since": since or "-infinity"})
    return {row["version"]: row for row in found}


def _timeout_figures(timeout: timedelta, row: Row) -> TimeoutFigures:
    seconds = timeout.total_seconds()
    whole = int(seconds) if seconds.is_integer() else seconds
    return as_dataclass(TimeoutFigures, row | {"timeout_seconds": whole})
