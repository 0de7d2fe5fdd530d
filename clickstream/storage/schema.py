"""Creating, upgrading and dropping the tables and views.

`apply_tables` can run any number of times, and twice at the same time.
"""

import logging
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor, connect_or_explain, only_row
from clickstream.clients.privileges import ensure_schema
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings
from clickstream.storage.write_lock import ACQUIRE_WRITE_LOCK

logger = logging.getLogger(__name__)

SCHEMA_FILE = Path(__file__).parents[2] / "schema.sql"
# The names and the version in schema.sql.
TABLES = (
    "clickstream_events",
    "session_metrics",
    "rejected_events",
    "stream_positions",
    "session_rule",
    "record_reading",
    "session_changes",
    "search_cursor",
    "search_refused_documents",
    "schema_version",
)
VIEWS = ("events_with_session", "open_sessions", "conversion_funnel", "hourly_traffic")
SCHEMA_VERSION = 3
APPLICATION = "clickstream schema"

HAS_VERSION_TABLE = "SELECT to_regclass('schema_version') IS NOT NULL"
SELECT_SCHEMA_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
SELECT_ROLE = "SELECT current_user"
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
DROP_ALL = f"DROP VIEW IF EXISTS {', '.join(VIEWS)}; DROP TABLE IF EXISTS {', '.join(TABLES)}"


def apply_tables(settings: Settings) -> str:
    """Create or upgrade tables and views, and return a sentence about the result.

    Raises UserError if PostgreSQL cannot be reached, a right is missing, or the tables are of a
    newer version.
    """
    has_timescale = _create_timescale(settings)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(ACQUIRE_WRITE_LOCK)
                ensure_schema(connection)
                _refuse_newer(cursor)
                cursor.execute(SCHEMA_FILE.read_text(encoding="utf-8"))
                is_hypertable = has_timescale and _create_hypertable(cursor)
        except errors.InsufficientPrivilege as error:
            raise _not_the_owner(connection, settings, error) from None
    kind = "a TimescaleDB hypertable" if is_hypertable else "a plain table"
    return (
        f"Tables and views are up to date in database {settings.postgres_database} "
        f"(clickstream_events is {kind})."
    )


def _refuse_newer(cursor: Cursor) -> None:
    cursor.execute(HAS_VERSION_TABLE)
    if not only_row(cursor)[0]:
        return
    cursor.execute(SELECT_SCHEMA_VERSION)
    stored = only_row(cursor)[0]
    if stored > SCHEMA_VERSION:
        raise UserError(
            f"the tables are of schema version {stored} and this program knows version "
            f"{SCHEMA_VERSION}; use the newer version of the program"
        )


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


def drop(settings: Settings) -> str:
    """Drop all tables and views, and return a sentence about it.

    The topic stays, so that a consumer can read it again.
    """
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(ACQUIRE_WRITE_LOCK)
        cursor.execute(DROP_ALL)
    return (
        f"All tables and views of database {settings.postgres_database} were dropped; topic "
        f"{settings.kafka_topic} was left as it is."
    )
