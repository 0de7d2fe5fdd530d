"""Connections to PostgreSQL."""

from typing import Any, TypeAlias

import psycopg2
import psycopg2.extensions

from clickstream.errors import UserError
from clickstream.settings import Settings

Connection: TypeAlias = psycopg2.extensions.connection
Cursor: TypeAlias = psycopg2.extensions.cursor

CONNECT_TIMEOUT_SECONDS = 10


def connect(settings: Settings, *, application: str) -> Connection:
    """Open a connection whose session speaks UTC, in a transaction per statement group.

    application: shown in pg_stat_activity. Raises psycopg2.OperationalError while the server is
    not there; `connect_or_explain` is the door for scripts that do not wait.
    """
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
        options="-c timezone=UTC -c datestyle=ISO -c client_encoding=UTF8 "
        r"-c default_transaction_isolation=read\ committed",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        **{name: value for name, value in optional.items() if value},
    )
    return connection


def connect_or_explain(settings: Settings, *, application: str) -> Connection:
    """`connect`, with a sentence for the user in place of the driver's error."""
    try:
        return connect(settings, application=application)
    except psycopg2.OperationalError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("FATAL:").strip()
        raise UserError(
            f"cannot connect to PostgreSQL at {settings.postgres_host}:{settings.postgres_port}, "
            f"database {settings.postgres_database!r}, as {settings.postgres_user!r}: {reason}; "
            "check POSTGRES_* in .env, or start local servers with: python -m clickstream stack up"
        ) from None


def only_row(cursor: Cursor) -> tuple[Any, ...]:
    """Return the row of a statement that always gives one, such as an aggregate."""
    row = cursor.fetchone()
    if row is None:
        raise AssertionError("a statement that always gives a row gave none")
    return row
