"""Creating, upgrading and dropping the tables and views.

`apply_tables` can run any number of times, and twice at the same time.
"""

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from zoneinfo import ZoneInfo

import psycopg2
from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor, connect_or_explain, only_row
from clickstream.clients.privileges import ensure_schema
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings
from clickstream.storage import report_settings, schema_version, table_indexes
from clickstream.storage.schema_version import SCHEMA_VERSION
from clickstream.storage.stored_rule import FENCE_CONSUMERS
from clickstream.storage.write_lock import ACQUIRE_WRITE_LOCK

logger = logging.getLogger(__name__)

SCHEMA_FILE = Path(__file__).parents[2] / "schema.sql"
# 004.sql upgrades tables of version 3 to version 4, and so on.
UPGRADES = Path(__file__).with_name("upgrades")
# The names in schema.sql.
TABLES = (
    "clickstream_events",
    "session_metrics",
    "user_agents",
    "rejected_events",
    "stream_positions",
    "session_rule",
    "record_reading",
    "event_retention",
    "erasure_keys",
    "erased_visitors",
    "report_settings",
    "source_categories",
    "site_hosts",
    "conversion_events",
    "session_changes",
    "search_cursor",
    "search_refused_documents",
    "schema_version",
)
VIEWS = (
    "events_with_session",
    "open_sessions",
    "latest_sessions",
    "session_user_agents",
    "conversion_funnel",
    "funnel_by_day",
    "hourly_traffic",
    "daily_traffic",
    "retention_cohorts",
    "session_sources",
    "visitors",
    "conversions",
)
FUNCTIONS = (
    "page_path(text)",
    "report_periods(text)",
    "url_parameter(text, text)",
    "url_decoded(text)",
    "url_host(text)",
    "url_origin(text)",
    "source_keys(text)",
    "is_same_site(text, text)",
    "default_channel_group(text, text, text, text)",
)
APPLICATION = "clickstream schema"

# Shorter than PostgreSQL's deadlock_timeout of one second, so that this program gives up first, and
# not a reader that holds one table and waits for another.
SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
RESET_LOCK_TIMEOUT = "SET LOCAL lock_timeout TO DEFAULT"
LOCK_PATIENCE_SECONDS = 60.0
LOCK_PAUSE_SECONDS = 0.5
LOCK_ALL = "LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"
# The name of each table and view in schema.sql.
CREATED_NAME = re.compile(r"^CREATE (?:OR REPLACE VIEW|TABLE IF NOT EXISTS) (\w+)", re.M)
SELECT_EXISTING = """
    SELECT name FROM unnest(%(names)s::text[]) WITH ORDINALITY AS given (name, number)
    WHERE to_regclass(name) IS NOT NULL ORDER BY number
"""

SELECT_ROLE = "SELECT current_user"
SELECT_ENCODING = "SELECT current_setting('server_encoding')"
# All others lack characters of Unicode, and each event with such a character would be refused.
ENCODINGS = ("UTF8", "SQL_ASCII")
# If the library is listed but not preloaded, CREATE EXTENSION ends the connection.
IS_TIMESCALE_LOADED = """
    SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND current_setting('timescaledb.disable_load', true) IS NOT NULL
"""
CREATE_TIMESCALE = "CREATE EXTENSION IF NOT EXISTS timescaledb CASCADE"
SELECT_TIMESCALE_SCHEMA = """
    SELECT quote_ident(n.nspname)
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'timescaledb'
"""
# Seven days, because a year of data in random order is inserted at half the rate into chunks of
# one day.
CREATE_HYPERTABLE = """
    SELECT {schema}.create_hypertable(
        'clickstream_events', 'event_time', chunk_time_interval => interval '7 days',
        create_default_indexes => false, if_not_exists => true)
"""
IS_HYPERTABLE = """
    SELECT EXISTS (
        SELECT FROM timescaledb_information.hypertables
        WHERE hypertable_schema = current_schema() AND hypertable_name = 'clickstream_events')
"""
DROP_ALL = (
    f"DROP VIEW IF EXISTS {', '.join(VIEWS)}; DROP FUNCTION IF EXISTS {', '.join(FUNCTIONS)}; "
    f"DROP TABLE IF EXISTS {', '.join(TABLES)}"
)


def apply_tables(settings: Settings) -> str:
    """Create or upgrade tables and views, and return a sentence about the result.

    Locks nothing if all of them exist in the version of this program. Indexes of tables that exist
    already are built after the upgrade, while consumers can write.

    Raises UserError if PostgreSQL cannot be reached, a right is missing, the tables are of a newer
    version, or they are in use for LOCK_PATIENCE_SECONDS.
    """
    has_timescale = _create_timescale(settings)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        try:
            with connection, connection.cursor() as cursor:
                _refuse_encoding(cursor, settings)
                is_current = _is_current(cursor)
                is_hypertable = has_timescale and is_current and _is_hypertable(cursor)
            if not is_current or is_hypertable != has_timescale:
                create = partial(_create, has_timescale=has_timescale)
                is_hypertable = _change_exclusively(connection, create)
            report_settings.store(connection, settings.report_timezone)
            _build_missing_indexes(connection)
        except errors.InsufficientPrivilege as error:
            raise _not_the_owner(connection, settings, error) from None
        except errors.DependentObjectsStillExist as error:
            raise UserError(
                f"a view of yours depends on one that changes ({first_line(error)}: "
                f"{error.diag.message_detail}): drop yours, run this again, and create yours again"
            ) from None
    kind = "a TimescaleDB hypertable" if is_hypertable else "a plain table"
    return (
        f"Tables and views are up to date in database {settings.postgres_database} "
        f"(clickstream_events is {kind}).{_zone_note(settings.report_timezone)}"
    )


def _zone_note(zone: ZoneInfo) -> str:
    """Return a sentence about the time zone of the views, with a space before it; none for UTC."""
    return "" if zone.key == "UTC" else f" The views count days and hours in {zone.key}."


def _refuse_encoding(cursor: Cursor, settings: Settings) -> None:
    cursor.execute(SELECT_ENCODING)
    (encoding,) = only_row(cursor)
    if encoding not in ENCODINGS:
        raise UserError(
            f"database {settings.postgres_database!r} has encoding {encoding}, which cannot store "
            "every text of an event; create one with: CREATE DATABASE ... ENCODING 'UTF8' "
            "TEMPLATE template0"
        )


def _is_current(cursor: Cursor) -> bool:
    """Return True if all tables and views exist, in the version of this program.

    Raises UserError if the tables are of a newer version.
    """
    stored = schema_version.read(cursor)
    schema_version.refuse_newer(stored)
    names = CREATED_NAME.findall(SCHEMA_FILE.read_text("utf-8"))
    return stored == SCHEMA_VERSION and _existing(cursor, names) == names


def _existing(cursor: Cursor, names: Sequence[str]) -> list[str]:
    """Return those of the names that a table or a view has."""
    cursor.execute(SELECT_EXISTING, {"names": list(names)})
    return [name for (name,) in cursor]


def _is_hypertable(cursor: Cursor) -> bool:
    cursor.execute(IS_HYPERTABLE)
    return bool(only_row(cursor)[0])


def _create(cursor: Cursor, *, has_timescale: bool) -> bool:
    """Upgrade and create what is missing; return True if clickstream_events is a hypertable."""
    ensure_schema(cursor.connection)
    stored = schema_version.read(cursor)  # again: another process may have upgraded meanwhile
    schema_version.refuse_newer(stored)
    if 0 < stored < SCHEMA_VERSION:
        _upgrade(cursor, stored)
    schema = SCHEMA_FILE.read_text("utf-8")
    cursor.execute(table_indexes.without_indexes(schema) if stored else schema)
    return has_timescale and _create_hypertable(cursor)


def _upgrade(cursor: Cursor, stored: int) -> None:
    """Upgrade the tables from version `stored` to that of this program.

    A running consumer of the earlier version is fenced at its next batch. When it acquires its
    partitions again, it finds that the tables are too new for it.
    """
    logger.info("upgrading the tables from schema version %d to %d", stored, SCHEMA_VERSION)
    for version in range(stored + 1, SCHEMA_VERSION + 1):
        cursor.execute((UPGRADES / f"{version:03}.sql").read_text("utf-8"))
    cursor.execute(FENCE_CONSUMERS)


def _change_exclusively(connection: Connection, change: Callable[[Cursor], bool]) -> bool:
    """Return the result of `change`, called while nobody else uses the tables and views.

    The indexer, reports and dumps lock tables in any order. So all locks are taken before the first
    change. If one cannot be had, all are released, so that nobody else waits for long, and tried
    again later. Raises UserError after LOCK_PATIENCE_SECONDS.
    """
    deadline = monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(ACQUIRE_WRITE_LOCK)
                _lock_all(cursor)
                return change(cursor)
        except errors.LockNotAvailable:
            if monotonic() >= deadline:
                raise _tables_in_use() from None
        sleep(LOCK_PAUSE_SECONDS)


def _tables_in_use() -> UserError:
    return UserError(
        f"the tables have been in use for {LOCK_PATIENCE_SECONDS:.0f} s, for example by a report "
        "or a dump: wait for it, or end it (the oldest xact_start in pg_stat_activity), and run "
        "this again"
    )


def _build_missing_indexes(connection: Connection) -> None:
    """Build the indexes that an upgrade adds, and those that somebody dropped."""
    schema = SCHEMA_FILE.read_text("utf-8")
    try:
        table_indexes.build_missing(connection, schema, LOCK_PATIENCE_SECONDS)
    except errors.LockNotAvailable:
        raise _tables_in_use() from None


def _lock_all(cursor: Cursor) -> None:
    """Lock all existing tables and views until the transaction ends. Raises LockNotAvailable."""
    existing = _existing(cursor, (*VIEWS, *TABLES))
    cursor.execute(SET_LOCK_TIMEOUT)
    if existing:
        cursor.execute(LOCK_ALL.format(names=", ".join(existing)))
    cursor.execute(RESET_LOCK_TIMEOUT)


def _not_the_owner(connection: Connection, settings: Settings, error: Exception) -> UserError:
    """Return the error for tables that exist already: only their owner may change them."""
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_ROLE)
        (role,) = only_row(cursor)
    return UserError(
        f"role {role!r} may not change the tables in database {settings.postgres_database!r} "
        f"({first_line(error)}); run this as the role that created them"
    )


def _create_timescale(settings: Settings) -> bool:
    """Create the extension if the server has it, and return True if it is there.

    On a connection of its own, because after a failed attempt the session cannot try again.
    """
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(IS_TIMESCALE_LOADED)
                if not only_row(cursor)[0]:
                    return False
                cursor.execute(CREATE_TIMESCALE)
        except errors.UniqueViolation:  # another process created it at this moment
            return True
        except errors.InsufficientPrivilege:
            logger.warning("no right to CREATE EXTENSION timescaledb: keeping a plain table")
            return False
        return True


def _create_hypertable(cursor: Cursor) -> bool:
    """Make clickstream_events a hypertable; return False if it stays a plain table."""
    cursor.execute(SELECT_TIMESCALE_SCHEMA)
    (schema,) = only_row(cursor)
    cursor.execute("SAVEPOINT hypertable")
    try:
        cursor.execute(CREATE_HYPERTABLE.format(schema=schema))
    except psycopg2.Error as error:  # for example because the table has rows
        cursor.execute("ROLLBACK TO SAVEPOINT hypertable")
        logger.warning("keeping a plain table: %s", first_line(error))
        return False
    return True


def _drop(cursor: Cursor) -> bool:
    cursor.execute(DROP_ALL)
    return True


def drop(settings: Settings) -> str:
    """Drop all tables and views, and return a sentence about it.

    The topic stays, so that a consumer can read it again.
    """
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        _change_exclusively(connection, _drop)
    return (
        f"All tables and views of database {settings.postgres_database} were dropped; topic "
        f"{settings.kafka_topic} was left as it is."
    )
