"""Tables, views, topic and index templates: what must be there before the first event.

`apply` can run any number of times, and two at once.
"""

import logging
from contextlib import closing
from pathlib import Path

import psycopg2
from kafka import KafkaAdminClient
from kafka.errors import AuthorizationError, KafkaError, NoError, TopicAlreadyExistsError
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    OpenSearchException,
    RequestError,
)
from psycopg2 import errors

from clickstream.clients import opensearch
from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import Connection, Cursor, connect_or_explain, only_row
from clickstream.clients.privileges import make_room_for_tables
from clickstream.errors import UserError
from clickstream.indexer import templates
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


def apply(settings: Settings) -> list[str]:
    """Create what is missing of tables, views, topic and index templates; a sentence for each.

    Raises UserError where a server is out of reach or a right is missing.
    """
    parts = (apply_tables(settings), apply_topic(settings), apply_search(settings))
    return [sentence for sentence in parts if sentence]


def apply_tables(settings: Settings) -> str:
    """Create what is missing of tables and views in PostgreSQL."""
    with_timescale = _create_timescale(settings)
    connection = connect_or_explain(settings, application=APPLICATION)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(STOP_WRITERS)
            make_room_for_tables(connection)
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
        f"({str(error).splitlines()[0]}); run this as the role that created them"
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
        logger.warning("staying with a plain table: %s", str(error).splitlines()[0])
        return False
    return True


def apply_topic(settings: Settings) -> str:
    """Create the topic where it is missing, with the broker's default replication."""
    topic = settings.kafka_topic
    partitions = settings.kafka_topic_partitions
    try:
        admin = KafkaAdminClient(bootstrap_timeout_ms=10_000, **connection_options(settings))
        try:
            # First a look: a user without the right to create is refused for a topic that is there.
            (found,) = admin.describe_topics([topic])
            if found["error_code"] == NoError.errno:
                return f"Topic {topic} is there with {len(found['partitions'])} partitions."
            admin.create_topics({topic: {"num_partitions": partitions}})
        except TopicAlreadyExistsError:  # created by somebody else at this moment
            return f"Topic {topic} is there."
        finally:
            admin.close()
    except AuthorizationError:
        raise UserError(
            f"topic {topic} is missing or hidden from this Kafka user, who may not create it; "
            "on Aiven set kafka_topic for Terraform and apply it, elsewhere let an administrator "
            "create it"
        ) from None
    except (KafkaError, OSError) as error:
        raise UserError(
            f"cannot create topic {topic} at {settings.kafka_bootstrap_servers}: "
            f"{type(error).__name__}; check KAFKA_* in .env, or start local servers with: "
            "python -m clickstream stack up"
        ) from None
    return f"Topic {topic} was created with {partitions} partitions."


def apply_search(settings: Settings) -> str | None:
    """Put the index templates, old or new; None where search is off."""
    if not settings.opensearch_host:
        return None
    place = f"{settings.opensearch_host}:{settings.opensearch_port}"
    try:
        with closing(opensearch.connect(settings)) as client:
            templates.put(client)
    except (AuthenticationException, AuthorizationException):
        raise UserError(
            f"OpenSearch at {place} does not let OPENSEARCH_USER put index templates; check "
            "OPENSEARCH_PASSWORD, or give an administrator's user and password in the environment "
            "of: python create_schema.py"
        ) from None
    except RequestError as error:
        raise UserError(
            f"OpenSearch at {place} refuses an index template ({str(error).splitlines()[0]}); "
            "remove or change there what stands in its way"
        ) from None
    except OpenSearchException as error:
        raise UserError(
            f"cannot put the index templates into OpenSearch at {place}: {type(error).__name__}; "
            "check OPENSEARCH_* in .env, or ask: python -m clickstream doctor"
        ) from None
    return f"Index templates {' and '.join(templates.TEMPLATES)} are there."


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
