"""How the sessions would look under another timeout."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from clickstream.clients.postgres import Connection, Cursor
from clickstream.durations import format_time, since_time
from clickstream.errors import UserError
from clickstream.model.sessions import Rule
from clickstream.storage import session_rule
from clickstream.storage.snapshot import Row, fill, one, rows, snapshot

NOW = "SELECT now()"
FIGURES = """
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
class Figures:
    """Sessions under one timeout; durations in minutes, rates as fractions of 1."""

    timeout_seconds: int | float
    sessions: int
    events_mean: float
    duration_mean: float
    bounce_rate: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The sessions as they are, and under another timeout.

    since: None for all time, else of which moment on the sessions begin.
    """

    since: datetime | None
    current: Figures
    other: Figures


def what_if(
    connection: Connection, timeout: timedelta, since: timedelta | datetime | None
) -> WhatIf:
    """Compare the stored sessions with those of another timeout, in one snapshot.

    since: only sessions that began so long ago or from then on. Raises UserError where there are
    none to compare.
    """
    with snapshot(connection) as cursor:
        moment = since_time(one(cursor, NOW)["now"], since)
        rule = session_rule.of_tables(cursor)
        found = _figures(cursor, rule, timeout, moment) if rule else {}
        if rule is None or len(found) < 2:
            raise UserError(
                NO_SESSIONS_SINCE.format(format_time(moment)) if moment else NO_SESSIONS
            )
        current, other = (
            fill(Figures, found[version] | {"timeout_seconds": _seconds(length)})
            for version, length in (("current", rule.timeout), ("other", timeout))
        )
    return WhatIf(moment, current, other)


def _seconds(length: timedelta) -> int | float:
    seconds = length.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _figures(
    cursor: Cursor, rule: Rule, timeout: timedelta, since: datetime | None
) -> dict[str, Row]:
    cursor.execute(session_rule.PREPARE)
    values = session_rule.parameters(replace(rule, timeout=timeout))
    query = session_rule.statement(FIGURES)
    found = rows(cursor, query, values | {"since": since or "-infinity"})
    return {row["version"]: row for row in found}
