"""The tables and views: created, upgraded and dropped.

`apply_tables` can run any number of times, and two at once.
"""

import logging
from pathlib import Path

import psycopg2
from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor, connect_or_explain, only_row
from clickstream.clients.privileges import ensure_schema
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings
from clickstream.storage.positions import STOP_WRITERS

logger = logging.getLogger(__name__)

SCHEMA_FILE = Path(__file__).parents[2] / "schema.sql"
VERSION = 2
APPLICATION = "clickstream schema"

HAS_VERSION = "SELECT to_regclass('schema_version') IS NOT NULL"
STORED_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
ROLE = "SELECT current_user"
# Listed but not preloaded, CREATE EXTENSION ends the connection: ask whether the library is there.
TIMESCALE_READY = """
    SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND current_setting('timescaledb.disable_load', true) IS NOT NULL
"""
CREATE_TIMESCALE = "CREATE EXTENSION IF NOT EXISTS timescaledb CASCADE"
TIMESCALE_SCHEMA = """
    SELECT quote_ident(n.nspname)
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'timescaledb'
"""
# Seven days: with data of a year in random order, chunks of a day halve the insert rate.
CREATE_HYPERTABLE = """
    SELECT {schema}.create_hypertable(
        'clickstream_events', 'event_time', chunk_time_interval => interval '7 days',
        create_default_indexes => false, if_not_exists => true)
"""
DROP = """
    DROP VIEW IF EXISTS events_with_session, open_sessions, conversion_funnel, hourly_traffic;
    DROP TABLE IF EXISTS clickstream_events, session_metrics, rejected_events, stream_positions,
        session_rule, session_changes, search_cursor, search_refused_documents, schema_version
"""


def apply_tables(settings: Settings) -> str:
    """Create what is missing of tables and views in PostgreSQL."""
    with_timescale = _create_timescale(settings)
    connection = connect_or_explain(settings, application=APPLICATION)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(STOP_WRITERS)
            ensure_schema(connection)
            _refuse_newer(cursor)
            cursor.execute(SCHEMA_FILE.read_text(encoding="utf-8"))
            hypertable = with_timescale and _create_hypertable(cursor)
    except errors.InsufficientPrivilege as error:
        raise _missing_right(connection, settings, error) from None
    finally:
        connection.close()
    kind = "a TimescaleDB hypertable" if hypertable else "a plain table"
    return (
        f"Tables and views are there in database {settings.postgres_database} "
        f"(clickstream_events is {kind})."
    )


def _refuse_newer(cursor: Cursor) -> None:
    cursor.execute(HAS_VERSION)
    if not only_row(cursor)[0]:
        return
    cursor.execute(STORED_VERSION)
    stored = only_row(cursor)[0]
    if stored > VERSION:
        raise UserError(
            f"the tables are of schema version {stored} and this program knows version {VERSION}; "
            "use the newer version of the program"
        )


def _missing_right(connection: Connection, settings: Settings, error: Exception) -> UserError:
    """Of tables that are there already: only their owner may change them."""
    with connection, connection.cursor() as cursor:
        cursor.execute(ROLE)
        (role,) = only_row(cursor)
    return UserError(
        f"role {role!r} may not change the tables in database {settings.postgres_database!r} "
        f"({first_line(error)}); run this as the role that created them"
    )


def _create_timescale(settings: Settings) -> bool:
    """Create the extension where the server has it; a connection of its own, as a failed attempt
    spoils the session for another one."""
    connection = connect_or_explain(settings, application=APPLICATION)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(TIMESCALE_READY)
            if not only_row(cursor)[0]:
                return False
            cursor.execute(CREATE_TIMESCALE)
    except errors.UniqueViolation:  # created by somebody else at this moment
        return True
    except errors.InsufficientPrivilege:
        logger.warning("no right to CREATE EXTENSION timescaledb: staying with a plain table")
        return False
    finally:
        connection.close()
    return True


def _create_hypertable(cursor: Cursor) -> bool:
    cursor.execute(TIMESCALE_SCHEMA)
    (schema,) = only_row(cursor)
    cursor.execute("SAVEPOINT hypertable")
    try:
        cursor.execute(CREATE_HYPERTABLE.format(schema=schema))
    except psycopg2.Error as error:  # a table with rows stays what it is
        cursor.execute("ROLLBACK TO SAVEPOINT hypertable")
        logger.warning("staying with a plain table: %s", first_line(error))
        return False
    return True


def drop(settings: Settings) -> str:
    """Drop every table and view; the topic stays, so that a consumer can read it again."""
    connection = connect_or_explain(settings, application=APPLICATION)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(STOP_WRITERS)
            cursor.execute(DROP)
    finally:
        connection.close()
    return (
        f"All tables and views of database {settings.postgres_database} were dropped; topic "
        f"{settings.kafka_topic} was left as it is."
    )
