"""The sizes of the tables, and how much a day adds. No large table is read completely."""

from dataclasses import dataclass

from clickstream.byte_sizes import format_bytes
from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.storage.query_rows import select_as
from clickstream.storage.schema import TABLES

EVENTS, SESSIONS, REJECTED = "clickstream_events", "session_metrics", "rejected_events"
SHOWN_TABLES = {EVENTS: "events", SESSIONS: "sessions", REJECTED: "rejected records"}
# Pages of clickstream_events that are read: enough for about 50,000 rows.
SAMPLED_PAGES = 2_000
# A hypertable itself is empty, and its chunks inherit from it. The rows per page are those that
# VACUUM or ANALYZE last found; there are none before the first of them.
SELECT_SIZES = """
    SELECT t.name, sum(pg_table_size(c.oid))::bigint AS table_bytes,
           sum(pg_indexes_size(c.oid))::bigint AS index_bytes,
           sum(pg_relation_size(c.oid) / current_setting('block_size')::integer)::bigint AS pages,
           round(sum(CASE WHEN c.relpages > 0 AND c.reltuples >= 0
                          THEN c.reltuples / c.relpages * pg_relation_size(c.oid)
                               / current_setting('block_size')::integer END))::bigint AS rows
    FROM unnest(%(tables)s) AS t (name)
    JOIN pg_class c
      ON c.oid = to_regclass(t.name)
      OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(t.name))
    GROUP BY t.name
"""
# A share of the pages of clickstream_events. It is the same share in each run.
SELECT_SAMPLE = """
    SELECT count(*), count(*) FILTER (WHERE stored_at > now() - interval '7 days'),
           extract(epoch FROM least(now() - min(stored_at), interval '7 days'))::float / 86400
    FROM clickstream_events TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)
"""


@dataclass(frozen=True, slots=True)
class TableSize:
    """The size of a table. rows: estimated, None if there is no estimate."""

    name: str
    table_bytes: int
    index_bytes: int
    pages: int
    rows: int | None

    @property
    def total_bytes(self) -> int:
        """Bytes of the table and its indexes."""
        return self.table_bytes + self.index_bytes


def check_size(connection: Connection) -> str:
    """Describe how large the tables are."""
    with connection, connection.cursor() as cursor:
        sizes = _read_sizes(cursor)
    shown = [
        f"{label} {format_bytes(sizes[name].total_bytes)}{_row_note(sizes[name].rows)}"
        for name, label in SHOWN_TABLES.items()
    ]
    indexes = format_bytes(sum(size.index_bytes for size in sizes.values()))
    total = format_bytes(sum(size.total_bytes for size in sizes.values()))
    return f"{total}, of which indexes {indexes}: {', '.join(shown)}"


def _row_note(rows: int | None) -> str:
    return "" if rows is None else f" (about {rows:,} rows)"


def check_growth(connection: Connection) -> str:
    """Describe how much a day adds, as far as a sample of the stored events shows it."""
    with connection, connection.cursor() as cursor:
        sizes = _read_sizes(cursor)
        percent = min(100.0, 100 * SAMPLED_PAGES / max(1, sizes[EVENTS].pages))
        cursor.execute(SELECT_SAMPLE, {"percent": percent})
        sampled, recent, days = only_row(cursor)
    if not sampled or days < 1:
        return "not enough data yet: it takes the events of a day"
    if not recent:
        return "no events in the last 7 days"
    events = recent * 100 / percent / days
    stored_bytes = sizes[EVENTS].total_bytes + sizes[SESSIONS].total_bytes
    a_day = int(stored_bytes * recent / sampled / days)
    return (
        f"about {format_bytes(a_day)} and {_rounded(events):,} events a day, measured over "
        f"{days:.1f} days; {format_bytes(30 * a_day)} in 30 days"
    )


def _rounded(number: float) -> int:
    """Round to two digits, because a sample gives no more."""
    return int(float(f"{number:.1e}"))


def _read_sizes(cursor: Cursor) -> dict[str, TableSize]:
    found = select_as(TableSize, cursor, SELECT_SIZES, {"tables": list(TABLES)})
    return {size.name: size for size in found}
