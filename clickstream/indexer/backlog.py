"""What is stored and not indexed yet, as PostgreSQL alone tells it."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from time import monotonic

import psycopg2

from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import Cursor, connect, only_row
from clickstream.errors import UserError
from clickstream.indexer import checkpoint
from clickstream.indexer.checkpoint import Checkpoint
from clickstream.settings import Settings
from clickstream.signals import Stop

APPLICATION = "clickstream search"
# More rows are not counted: that would take longer than it is worth.
MOST_COUNTED = 100_000
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
TELL_SECONDS = 10.0

NEXT_TRANSACTION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
UNFILLED = """
    SELECT count(*), greatest(0, extract(epoch FROM now() - min(since)))::double precision
    FROM (SELECT stored_at AS since FROM clickstream_events
          WHERE (event_time, event_id) > (%(filled_time)s::timestamptz, %(filled_id)s::uuid)
          ORDER BY event_time, event_id LIMIT %(most)s) AS events
"""
# Rows of a database that was restored may carry transaction ids of the future: they do not count.
CHANGED = """
    SELECT count(*), greatest(0, extract(epoch FROM now() - min(since)))::double precision
    FROM ((SELECT stored_at AS since FROM clickstream_events
           WHERE xid >= %(horizon)s::xid8 AND xid < %(before)s::xid8 ORDER BY xid LIMIT %(most)s)
          UNION ALL
          (SELECT changed_at FROM session_changes
           WHERE xid >= %(horizon)s::xid8 AND xid < %(before)s::xid8 ORDER BY xid LIMIT %(most)s)
         ) AS rows
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows that wait to be indexed (up to MOST_COUNTED of a kind), and how long the first has.

    begun: whether there is an index of this database at all. caught_up: whether it is full, and
    nothing waits.
    """

    begun: bool
    caught_up: bool
    rows: int
    seconds: float

    def __str__(self) -> str:
        if not self.begun:
            return "nothing indexed yet"
        more = "+" if self.rows >= MOST_COUNTED else ""
        return f"{self.rows}{more} rows, {self.seconds:.0f} s behind"


def next_transaction(cursor: Cursor) -> str:
    """The transaction id before which everything is that was committed until now."""
    cursor.execute(NEXT_TRANSACTION)
    return str(only_row(cursor)[0])


def read(cursor: Cursor, before: str | None = None) -> Backlog:
    """The backlog now, or of what was there before a transaction."""
    current = checkpoint.read(cursor)
    if current is None:
        return Backlog(begun=False, caught_up=False, rows=0, seconds=0.0)
    values = {
        **asdict(current),
        "horizon": str(current.horizon),
        "before": before or next_transaction(cursor),
        "most": MOST_COUNTED,
    }
    cursor.execute(CHANGED, values)
    rows, seconds = only_row(cursor)
    if current.filled_time is None:
        return Backlog(True, rows == 0, rows, seconds)
    cursor.execute(UNFILLED, values)
    unfilled, age = only_row(cursor)
    return Backlog(True, False, rows + unfilled, max(seconds, age))


def describe(cursor: Cursor) -> str:
    """The backlog now, for a line of the log."""
    return f"search index {read(cursor)}"


def wait_until_indexed(
    settings: Settings,
    stop: Stop,
    *,
    patience: float = PATIENCE_SECONDS,
    tell: Callable[[Backlog], object] | None = None,
) -> bool:
    """Return when all that is stored now is indexed, by whichever indexer.

    False at a stop, or where nothing moves for the patience (seconds). tell: is told the backlog
    now and then.
    """
    before: str | None = None
    current: Checkpoint | None = None
    moved = told = monotonic()
    while not stop.requested and monotonic() - moved < patience:
        try:
            before, backlog, latest = _look(settings, before)
        except psycopg2.Error:  # PostgreSQL may come back
            stop.wait(POLL_SECONDS)
            continue
        if backlog.caught_up:
            return True
        if latest != current:
            current, moved = latest, monotonic()
        if tell and monotonic() - told > TELL_SECONDS:
            tell(backlog)
            told = monotonic()
        stop.wait(POLL_SECONDS)
    return False


def _look(settings: Settings, before: str | None) -> tuple[str, Backlog, Checkpoint | None]:
    with (
        closing(connect(settings, application=APPLICATION)) as connection,
        connection.cursor() as cursor,
    ):
        before = before or next_transaction(cursor)
        return before, read(cursor, before), checkpoint.read(cursor)


def stuck(settings: Settings) -> UserError:
    """What to tell the user where the index does not catch up."""
    return UserError(
        f"the search index does not move: see whether {opensearch_address(settings)} "
        "takes documents (python -m clickstream doctor), and whether "
        "a transaction was left open in PostgreSQL (the oldest xact_start of pg_stat_activity); "
        "a consumer goes on with the index whenever it runs"
    )
