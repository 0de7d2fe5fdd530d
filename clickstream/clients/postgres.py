"""Connections to PostgreSQL."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg2
import psycopg2.extensions

from clickstream.clients.addresses import postgres_address
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings

Connection: TypeAlias = psycopg2.extensions.connection
Cursor: TypeAlias = psycopg2.extensions.cursor

CONNECT_TIMEOUT_SECONDS = 10
# After the connect, not as a parameter of it, which PgBouncer would refuse.
PREPARE_SESSION = """
    SET timezone = 'UTC';
    SET datestyle = 'ISO';
    SET default_transaction_isolation = 'read committed'
"""
# libpq reads them beside its parameters: they name another server or its password, or change the
# session. POSTGRES_* and DATABASE_URL alone decide that here.
IGNORED_VARIABLES = (
    *("PGHOSTADDR", "PGPASSWORD", "PGSERVICE", "PGSERVICEFILE", "PGSSLROOTCERT", "PGOPTIONS"),
    *("PGTARGETSESSIONATTRS", "PGTZ", "PGDATESTYLE", "PGGEQO"),
)
LIBPQ_PREFIX = re.compile(r"^connection to server .*? failed: (FATAL: +)?")


def connect(settings: Settings, *, application: str) -> Connection:
    """Open a connection whose session uses UTC, ISO dates, UTF-8 and READ COMMITTED.

    application: shown in pg_stat_activity. Raises psycopg2.OperationalError while the server
    cannot be reached; commands that do not wait for it call `connect_or_explain`.
    Removes IGNORED_VARIABLES from the environment.
    """
    remove_ignored_variables()
    optional: dict[str, Any] = {
        "password": settings.postgres_password,
        "sslrootcert": settings.postgres_sslrootcert,
    }
    connection: Connection = psycopg2.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        dbname=settings.postgres_database,
        user=settings.postgres_user,
        sslmode=settings.postgres_sslmode,
        application_name=application,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        client_encoding="UTF8",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        **{name: value for name, value in optional.items() if value},
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(PREPARE_SESSION)
    return connection


def remove_ignored_variables() -> None:
    """Remove IGNORED_VARIABLES from the environment of this process, before it connects."""
    for name in IGNORED_VARIABLES:
        os.environ.pop(name, None)


def connect_or_explain(settings: Settings, *, application: str) -> Connection:
    """Open a connection like `connect`; raise UserError in place of the driver's error."""
    try:
        return connect(settings, application=application)
    except psycopg2.OperationalError as error:
        raise UserError(
            f"cannot connect to {postgres_address(settings)}, as {settings.postgres_user!r} "
            f"({connection_failure(error)}); check POSTGRES_*, or start local servers with: "
            "python -m clickstream stack up"
        ) from None


@contextmanager
def explained_errors() -> Iterator[None]:
    """Raise UserError in place of an error of PostgreSQL in this context."""
    try:
        yield
    except psycopg2.Error as error:
        raise UserError(
            f"PostgreSQL failed ({first_line(error)}); find the cause with: "
            "python -m clickstream doctor"
        ) from None


def connection_failure(error: psycopg2.Error) -> str:
    """Return why libpq could not connect, without the address: "Connection refused".

    libpq gives a line for each address and attempt, and adds hints; its first line is the cause.
    """
    return LIBPQ_PREFIX.sub("", first_line(error))


def only_row(cursor: Cursor) -> tuple[Any, ...]:
    """Return the row of a statement that always returns one, such as an aggregate."""
    row = cursor.fetchone()
    if row is None:
        raise AssertionError("a statement that always returns a row returned none")
    return row
