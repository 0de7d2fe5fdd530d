"""Figures of the live view. Each query reads an index or a few rows, however much is stored."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg2

from clickstream.clients.postgres import Connection, connect
from clickstream.indexer import backlog
from clickstream.indexer.backlog import Backlog
from clickstream.report.last_hour import HourFigures, LastHour
from clickstream.report.models import SessionSummary
from clickstream.settings import Settings
from clickstream.storage.query_rows import as_dataclass, select_as, select_row
from clickstream.storage.snapshot import snapshot, snapshot_time

APPLICATION = "clickstream watch"
LISTED_SESSIONS = 100

# Counters of all partitions. The lag is that of the partition furthest behind: either its newest
# event is that old, or its end was last reached then.
SELECT_COUNTERS = """
    SELECT coalesce(sum(rejected), 0)::bigint AS rejected,
           extract(epoch FROM max(now() - greatest(watermark, caught_up_at)))::double precision
               AS lag_seconds,
           (SELECT count(*) FROM session_metrics WHERE closed_at IS NULL) AS open_sessions
    FROM stream_positions
"""
# The sessions that began last.
SELECT_LATEST_SESSIONS = """
    SELECT session_id, user_id, last_event_timestamp, session_duration_minutes, total_events,
           orders_count, total_revenue
    FROM session_metrics
    ORDER BY first_event_timestamp DESC
    LIMIT %(listed)s
"""


@dataclass(frozen=True, slots=True)
class LiveCounters:
    """Counters of all partitions.

    lag_seconds: everything that happened until this long ago is stored; None before the first
    event.
    """

    rejected: int
    lag_seconds: float | None
    open_sessions: int


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """Figures of one moment. events_per_second: None at the first reading."""

    time: datetime
    counters: LiveCounters
    events_per_second: float | None
    search: Backlog
    hour: HourFigures
    latest_sessions: Sequence[SessionSummary]


class LiveReader:
    """Reads the figures again and again; connects again after a failure.

    connection: the first one; the reader closes it after a failure.
    """

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._settings = settings
        self._connection: Connection | None = connection
        self._last_hour = LastHour()

    def read(self) -> LiveFigures:
        """Read the figures of this moment.

        Raises psycopg2.Error while PostgreSQL cannot be reached, and UserError if it has no tables.
        """
        try:
            if self._connection is None:
                self._connection = connect(self._settings, application=APPLICATION)
                self._last_hour = LastHour()
            return self._read(self._connection)
        except psycopg2.Error:
            self._close()
            raise

    def _read(self, connection: Connection) -> LiveFigures:
        with snapshot(connection) as cursor:
            now = snapshot_time(cursor)
            hour = self._last_hour.read(cursor, now)
            return LiveFigures(
                time=now,
                counters=as_dataclass(LiveCounters, select_row(cursor, SELECT_COUNTERS)),
                events_per_second=self._last_hour.events_per_second,
                search=backlog.read(cursor),
                hour=hour,
                latest_sessions=select_as(
                    SessionSummary, cursor, SELECT_LATEST_SESSIONS, {"listed": LISTED_SESSIONS}
                ),
            )

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
        self._connection = None
