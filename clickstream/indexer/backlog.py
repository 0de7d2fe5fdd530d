"""The backlog: rows that are stored and not indexed yet, counted in PostgreSQL alone."""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from time import monotonic

import psycopg2

from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import Cursor, connect, only_row
from clickstream.errors import UserError
from clickstream.indexer import checkpoint
from clickstream.indexer.checkpoint import Checkpoint
from clickstream.indexer.leadership import APPLICATION
from clickstream.plurals import plural
from clickstream.settings import Settings
from clickstream.signals import Stop

logger = logging.getLogger(__name__)

# Rows beyond this number are not counted, because that would take too long.
MAX_COUNTED_ROWS = 100_000
POLL_SECONDS = 0.5
INDEXING_PATIENCE_SECONDS = 60.0
LOG_SECONDS = 10.0

SELECT_NEXT_TRANSACTION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
# Number of events that the backfill has not reached, and the age of the oldest in seconds.
COUNT_EVENTS_TO_BACKFILL = """
    SELECT count(*), greatest(0, extract(epoch FROM now() - min(since)))::double precision
    FROM (SELECT stored_at AS since FROM clickstream_events
          WHERE (event_time, event_id) > (%(filled_time)s::timestamptz, %(filled_id)s::uuid)
          ORDER BY event_time, event_id LIMIT %(max_rows)s) AS events
"""
# Number of rows that transactions changed since the checkpoint, and the age of the oldest. The
# upper limit excludes rows of a restored database whose transaction ids lie in the future.
COUNT_CHANGED_ROWS = """
    SELECT count(*), greatest(0, extract(epoch FROM now() - min(since)))::double precision
    FROM ((SELECT stored_at AS since FROM clickstream_events
           WHERE xid >= %(horizon)s::xid8 AND xid < %(before)s::xid8
           ORDER BY xid LIMIT %(max_rows)s)
          UNION ALL
          (SELECT changed_at FROM session_changes
           WHERE xid >= %(horizon)s::xid8 AND xid < %(before)s::xid8
           ORDER BY xid LIMIT %(max_rows)s)
         ) AS rows
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows that are not indexed yet.

    begun: False if this database has no index. caught_up: True if the backfill is complete and no
    row is left. rows: their number, each kind counted up to MAX_COUNTED_ROWS. seconds: age of the
    oldest row.
    """

    begun: bool
    caught_up: bool
    rows: int
    seconds: float

    def __str__(self) -> str:
        if not self.begun:
            return "nothing indexed yet"
        more = "+" if self.rows >= MAX_COUNTED_ROWS else ""
        return f"{self.rows}{more} {plural(self.rows, 'row')}, {self.seconds:.0f} s behind"


def next_transaction(cursor: Cursor) -> str:
    """Return a transaction id that is greater than that of every committed transaction."""
    cursor.execute(SELECT_NEXT_TRANSACTION)
    return str(only_row(cursor)[0])


def read(cursor: Cursor, before: str | None = None) -> Backlog:
    """Return the current backlog, or only its rows of transactions before this transaction id."""
    current = checkpoint.read(cursor)
    if current is None:
        return Backlog(begun=False, caught_up=False, rows=0, seconds=0.0)
    limits = {
        "horizon": str(current.horizon),
        "before": before or next_transaction(cursor),
        "max_rows": MAX_COUNTED_ROWS,
    }
    cursor.execute(COUNT_CHANGED_ROWS, limits)
    rows, seconds = only_row(cursor)
    if current.backfilled_to is None:
        return Backlog(True, rows == 0, rows, seconds)
    filled_time, filled_id = current.backfilled_to
    cursor.execute(
        COUNT_EVENTS_TO_BACKFILL, {**limits, "filled_time": filled_time, "filled_id": filled_id}
    )
    events, age = only_row(cursor)
    return Backlog(True, False, rows + events, max(seconds, age))


def wait_until_indexed(
    settings: Settings,
    stop: Stop,
    *,
    is_refused: Callable[[], bool] = lambda: False,
    patience: float = INDEXING_PATIENCE_SECONDS,
) -> bool:
    """Wait until everything that is stored now is indexed, by an indexer of any process.

    Logs the backlog every LOG_SECONDS. Return False at a stop, if is_refused() is True, or if the
    index makes no progress for `patience` seconds.
    """
    before: str | None = None
    current: Checkpoint | None = None
    moved = logged = monotonic()
    while not stop.requested and not is_refused() and monotonic() - moved < patience:
        try:
            before, backlog, latest = _poll(settings, before)
        except psycopg2.Error:  # PostgreSQL may come back
            stop.wait(POLL_SECONDS)
            continue
        if backlog.caught_up:
            return True
        if latest != current:
            current, moved = latest, monotonic()
        if monotonic() - logged > LOG_SECONDS:
            logger.info("waiting for the search index: %s", backlog)
            logged = monotonic()
        stop.wait(POLL_SECONDS)
    return False


def _poll(settings: Settings, before: str | None) -> tuple[str, Backlog, Checkpoint | None]:
    with (
        closing(connect(settings, application=APPLICATION)) as connection,
        connection.cursor() as cursor,
    ):
        before = before or next_transaction(cursor)
        return before, read(cursor, before), checkpoint.read(cursor)


def stuck_error(settings: Settings) -> UserError:
    """Return the error for the user if the index does not catch up."""
    return UserError(
        f"the search index makes no progress: see if {opensearch_address(settings)} accepts "
        "documents (python -m clickstream doctor), and if a transaction was left open in "
        "PostgreSQL (the oldest xact_start in pg_stat_activity); a running consumer continues "
        "with the index by itself"
    )
