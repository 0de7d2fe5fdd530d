"""Comparison of the tables of a side with the topic and with the truth file."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic, sleep

from bench.peers.sides import Tables
from bench.peers.traffic import CLOSING, SessionKey, Traffic
from bench.scripts import PROJECT, run
from clickstream.clients.postgres import Cursor, connect, only_row
from clickstream.settings import Settings

# A side that has stored nothing for this long is done. A killed member of a consumer group can keep
# its partitions for 45 s, and longer within a transaction.
UNCHANGED_SECONDS = 120.0
POLL_SECONDS = 1.0
# LaminarDB has an option to create these tables, which did not create them.
LAMINARDB_TABLES = """
    CREATE TABLE laminardb_events (event_id text PRIMARY KEY, user_id text);
    CREATE TABLE laminardb_sessions (
        user_id text, first_time timestamp, last_time timestamp, total_events bigint,
        PRIMARY KEY (user_id, first_time))
"""


def create_tables(settings: Settings) -> None:
    """Create the tables that the sides do not create themselves."""
    run(PROJECT, settings, "create_schema.py")
    with _cursor(settings) as cursor:
        cursor.execute(LAMINARDB_TABLES)


def wait_until_unchanged(settings: Settings, tables: Tables) -> None:
    """Wait until the numbers of rows have not changed for UNCHANGED_SECONDS."""
    before, since = None, monotonic()
    while monotonic() < since + UNCHANGED_SECONDS:
        with _cursor(settings) as cursor:
            now = [_rows(cursor, name) for name in (tables.events, tables.sessions_table)]
        if now != before:
            before, since = now, monotonic()
        sleep(POLL_SECONDS)


def compare(settings: Settings, tables: Tables, traffic: Traffic) -> list[str]:
    """Return the numbers of events lost, rows doubled, and sessions right, wrong and missing."""
    sent, true = traffic.event_ids, traffic.sessions()
    with _cursor(settings) as cursor:
        events = _event_ids(cursor, tables)
        sessions = _sessions(cursor, tables)
    lost = sent - events.keys()
    doubled = events.total() - len(events)
    numbers = (true & sessions, sessions - true, true - sessions)
    return [f"{number:,}" for number in (len(lost), doubled, *(each.total() for each in numbers))]


@contextmanager
def _cursor(settings: Settings) -> Iterator[Cursor]:
    """Yield a database cursor in one transaction on a new connection."""
    with (
        closing(connect(settings, application="bench")) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        yield cursor


def _event_ids(cursor: Cursor, tables: Tables) -> Counter[str]:
    if not _exists(cursor, tables.events):
        return Counter()
    cursor.execute(
        f"SELECT event_id::text FROM {tables.events} WHERE user_id NOT LIKE %s",
        (f"{CLOSING}%",),
    )
    return Counter(event_id for (event_id,) in cursor)


def _sessions(cursor: Cursor, tables: Tables) -> Counter[SessionKey]:
    if not _exists(cursor, tables.sessions_table):
        return Counter()
    cursor.execute(tables.sessions)
    return Counter(tuple(row) for row in cursor if not row[0].startswith(CLOSING))


def _rows(cursor: Cursor, table: str) -> int:
    if not _exists(cursor, table):
        return 0
    cursor.execute(f"SELECT count(*) FROM {table}")
    return int(only_row(cursor)[0])


def _exists(cursor: Cursor, table: str) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
    return bool(only_row(cursor)[0])
