"""The floor: how fast PostgreSQL alone stores the rows of the consumer, from prepared COPY texts.

The same rows go into the same tables with the same indexes, in batches of the same size, one
transaction each: the events by COPY, the sessions by COPY into a temporary table and an upsert. It
looks for no duplicates, computes nothing, and moves no position.
"""

from collections.abc import Iterator, Sequence
from io import BytesIO
from time import monotonic
from typing import NamedTuple

from bench.cpu_time import CpuClock
from bench.runs import Run, per_event
from clickstream.clients.postgres import Cursor, connect
from clickstream.settings import Settings

BATCH_EVENTS = 10_000  # as many as a transaction of the consumer has, while it is behind
COPY_BYTES = 1 << 20
COLUMNS = """
    SELECT column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = %s AND is_generated = 'NEVER'
      AND column_name NOT IN ('stored_at', 'xid')
    ORDER BY ordinal_position
"""
EMPTY_TABLES = "TRUNCATE clickstream_events, session_metrics"


class PreparedBatch(NamedTuple):
    """The texts of a batch for COPY."""

    events: bytes
    sessions: bytes


class Floor:
    """Stored rows as texts, which it stores again.

    settings: they name a database that a consumer has filled; its rows are replaced by the same
    rows.
    """

    def __init__(self, settings: Settings, visitors: int) -> None:
        self._settings = settings
        self._visitors = visitors
        self._connection = connect(settings, application="bench")
        with self._connection, self._connection.cursor() as cursor:
            self._event_columns = _columns(cursor, "clickstream_events")
            self._session_columns = _columns(cursor, "session_metrics")
            order = "ORDER BY event_time, event_id"
            self._events = _rows(cursor, "clickstream_events", self._event_columns, order)
            sessions = _rows(cursor, "session_metrics", self._session_columns)
        place = self._session_columns.index("user_id")
        self._sessions = {line.split(b"\t")[place]: line for line in sessions}

    def final_sessions(self) -> list[PreparedBatch]:
        """Return the batches if each session is written once, in the batch of its last event."""
        written: set[bytes] = set()
        batches = []
        for events in reversed(list(self._batches())):
            visitors = self._visitors_of(events) - written
            written |= visitors
            batches.append(self._batch(events, visitors))
        return batches[::-1]

    def live_sessions(self) -> list[PreparedBatch]:
        """Return the batches if each one writes all sessions that it changes, like the consumer."""
        return [self._batch(events, self._visitors_of(events)) for events in self._batches()]

    def store(self, side: str, batches: Sequence[PreparedBatch]) -> Run:
        """Store the batches in empty tables. side: the name of the run."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(EMPTY_TABLES)
            cursor.execute(_create_stage(self._session_columns))
        watching = connect(self._settings, application="bench")
        clock = CpuClock(self._settings, watching, {})
        begin = monotonic()
        for batch in batches:
            with self._connection, self._connection.cursor() as cursor:
                _copy(cursor, "clickstream_events", self._event_columns, batch.events)
                _copy(cursor, "stage", self._session_columns, batch.sessions)
                cursor.execute(_upsert(self._session_columns))
        seconds = monotonic() - begin
        cpu = clock.elapsed()
        watching.close()
        events = len(self._events)
        return Run(side, self._visitors, events, seconds, per_event(cpu, events))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _batches(self) -> Iterator[list[bytes]]:
        for first in range(0, len(self._events), BATCH_EVENTS):
            yield self._events[first : first + BATCH_EVENTS]

    def _visitors_of(self, events: Sequence[bytes]) -> set[bytes]:
        place = self._event_columns.index("user_id")
        return {line.split(b"\t")[place] for line in events}

    def _batch(self, events: Sequence[bytes], visitors: set[bytes]) -> PreparedBatch:
        # In the order of the key, as the consumer writes them.
        sessions = sorted(self._sessions[visitor] for visitor in visitors)
        return PreparedBatch(b"".join(events), b"".join(sessions))


def _columns(cursor: Cursor, table: str) -> list[str]:
    cursor.execute(COLUMNS, (table,))
    return [name for (name,) in cursor]


def _rows(cursor: Cursor, table: str, columns: Sequence[str], order: str = "") -> list[bytes]:
    rows = BytesIO()
    names = ", ".join(columns)
    cursor.copy_expert(f"COPY (SELECT {names} FROM {table} {order}) TO STDOUT", rows)
    return rows.getvalue().splitlines(keepends=True)


def _create_stage(columns: Sequence[str]) -> str:
    return f"""
        CREATE TEMPORARY TABLE IF NOT EXISTS stage ON COMMIT DELETE ROWS
        AS SELECT {", ".join(columns)} FROM session_metrics WITH NO DATA
    """


def _copy(cursor: Cursor, table: str, columns: Sequence[str], rows: bytes) -> None:
    names = ", ".join(columns)
    cursor.copy_expert(f"COPY {table} ({names}) FROM STDIN", BytesIO(rows), COPY_BYTES)


def _upsert(columns: Sequence[str]) -> str:
    names = ", ".join(columns)
    values = ", ".join(f"{name} = excluded.{name}" for name in columns)
    return f"""
        INSERT INTO session_metrics ({names}) SELECT {names} FROM stage
        ON CONFLICT (session_id) DO UPDATE SET {values}
    """
