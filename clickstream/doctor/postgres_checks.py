"""Checks of PostgreSQL, from the TLS handshake to the rights on the tables."""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path

import psycopg2

from clickstream.clients import network
from clickstream.clients.credentials import check_ca
from clickstream.clients.network import Endpoint
from clickstream.clients.pem import Pem
from clickstream.clients.postgres import Connection, connect, connection_failure, only_row
from clickstream.clients.privileges import create_rights
from clickstream.doctor.checks import Check
from clickstream.doctor.connection_limits import check_limits
from clickstream.doctor.database_size import check_growth, check_size
from clickstream.durations import format_time
from clickstream.errors import UserError
from clickstream.model.sessions import Rule
from clickstream.reading_settings import reading_of
from clickstream.settings import Settings
from clickstream.storage import event_retention, schema_version, stored_reading, stored_rule
from clickstream.storage.schema import TABLES

APPLICATION = "clickstream doctor"
SSL_REQUEST = struct.pack(">ii", 8, 80877103)
# The file that libpq reads if POSTGRES_SSLROOTCERT is empty.
LIBPQ_ROOT = Path.home() / ".postgresql" / "root.crt"

READ_ONLY = "SELECT current_setting('transaction_read_only')::boolean"
SELECT_SERVER_PROCESS = "SELECT pg_backend_pid()"
MISSING_TABLES = """
    SELECT name FROM unnest(%s) WITH ORDINALITY AS tables (name, number)
    WHERE to_regclass(name) IS NULL ORDER BY number
"""
MISSING_RIGHTS = """
    SELECT name, string_agg(privilege, ', ' ORDER BY privilege), current_user
    FROM unnest(%s) AS tables (name),
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privileges (privilege)
    WHERE NOT has_table_privilege(name, privilege)
    GROUP BY name ORDER BY name
"""


def checks(settings: Settings, now: datetime) -> Iterator[Check]:
    """Yield the checks of PostgreSQL; each depends on those before it."""
    endpoint = Endpoint(settings.postgres_host, settings.postgres_port, "POSTGRES_HOST")
    if _verifies(settings):
        yield Check("CA", lambda: _check_root(settings, now))
    if not settings.postgres_host.startswith("/"):  # else it is the folder of a Unix socket
        yield Check("name", lambda: network.resolve(endpoint))
        yield Check("connection", lambda: network.reach(endpoint))
        yield Check("TLS", lambda: _check_tls(settings, endpoint))
    yield Check("credentials", lambda: _with_connection(settings, _check_session))
    yield Check("pooler", lambda: _with_connection(settings, partial(_check_pooler, settings)))
    yield Check("tables", lambda: _with_connection(settings, _check_tables))
    yield Check("rights", lambda: _with_connection(settings, _check_rights))
    yield Check("schema", lambda: _with_connection(settings, _check_version))
    check_rule = partial(_check_rule, stored_rule.rule_of(settings))
    yield Check("session rule", lambda: _with_connection(settings, check_rule))
    check_reading = partial(_check_reading, settings)
    yield Check("reading", lambda: _with_connection(settings, check_reading), False)
    yield Check("retention", lambda: _with_connection(settings, _describe_retention))
    check_connections = partial(check_limits, settings)
    yield Check("connections", lambda: _with_connection(settings, check_connections), False)
    yield Check("size", lambda: _with_connection(settings, check_size), False)
    yield Check("growth", lambda: _with_connection(settings, check_growth), False)


def _root(settings: Settings) -> str:
    """Return the file of CA certificates that libpq uses, or "" if there is none."""
    if settings.postgres_sslrootcert:
        return settings.postgres_sslrootcert
    return str(LIBPQ_ROOT) if LIBPQ_ROOT.is_file() else ""


def _verifies(settings: Settings) -> bool:
    """Return True if libpq verifies the server: `require` does if a CA certificate is found."""
    mode = settings.postgres_sslmode
    return mode.startswith("verify") or (mode == "require" and bool(_root(settings)))


def _check_root(settings: Settings, now: datetime) -> str:
    root = _root(settings)
    if not root:
        raise UserError(
            f"POSTGRES_SSLMODE={settings.postgres_sslmode} needs the CA's certificate; set "
            "POSTGRES_SSLROOTCERT to its file, or to system"
        )
    if root == "system":
        return "the system's certificates"
    return check_ca(Pem("POSTGRES_SSLROOTCERT", root), now)


def _check_tls(settings: Settings, endpoint: Endpoint) -> str:
    if settings.postgres_sslmode == "disable":
        return "off, by POSTGRES_SSLMODE=disable"
    with network.open_connection(endpoint) as connection:
        answer = _request_tls(connection)
        if answer == b"N":
            return _without_tls(settings, endpoint)
        if answer != b"S":
            raise UserError(f"the server at {endpoint} is not PostgreSQL; check POSTGRES_PORT")
        trusted = network.describe_trust(Pem("POSTGRES_SSLROOTCERT", _root(settings)))
        with network.start_tls(connection, endpoint, _context(settings), trusted) as secured:
            return network.describe(secured)


def _request_tls(connection: socket.socket) -> bytes:
    """Return the reply to an SSLRequest: S, N, or anything else if it is not PostgreSQL."""
    try:
        connection.sendall(SSL_REQUEST)
        return connection.recv(1)
    except OSError:
        return b""


def _without_tls(settings: Settings, endpoint: Endpoint) -> str:
    if settings.postgres_sslmode in ("allow", "prefer"):
        return "the server has none, and POSTGRES_SSLMODE does not require it"
    raise UserError(
        f"the PostgreSQL at {endpoint} has no TLS, but POSTGRES_SSLMODE="
        f"{settings.postgres_sslmode} requires it; turn it on in the server, or for a server on "
        "this machine set POSTGRES_SSLMODE=prefer"
    )


def _context(settings: Settings) -> ssl.SSLContext:
    verify = _verifies(settings)
    root = _root(settings)
    return network.context(
        root if verify and root != "system" else "",
        verify=verify,
        check_hostname=settings.postgres_sslmode == "verify-full",
    )


def _with_connection(settings: Settings, check: Callable[[Connection], str]) -> str:
    """Call `check` with a connection. Raises UserError if the server refuses it."""
    try:
        with closing(connect(settings, application=APPLICATION)) as connection:
            return check(connection)
    except psycopg2.OperationalError as error:
        raise UserError(_describe_refusal(settings, error)) from None


def _describe_refusal(settings: Settings, error: psycopg2.OperationalError) -> str:
    reason = connection_failure(error)
    remedies = {
        "password authentication failed": "check POSTGRES_USER and POSTGRES_PASSWORD (on Aiven: "
        "python -m clickstream env)",
        "no password supplied": "set POSTGRES_PASSWORD",
        "does not exist": "check POSTGRES_DATABASE and POSTGRES_USER (on Aiven: terraform apply)",
        "no pg_hba.conf entry": "the server does not allow this user from this address, or only "
        "with TLS: check POSTGRES_SSLMODE",
        "remaining connection slots": "too many connections are open: stop some clients, or use a "
        "larger plan",
    }
    remedy = next(
        (text for part, text in remedies.items() if part in str(error)), "check POSTGRES_*"
    )
    return (
        f"PostgreSQL refuses {settings.postgres_user!r} access to the database "
        f"{settings.postgres_database!r}: {reason}; {remedy}"
    )


def _check_session(connection: Connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute(READ_ONLY)
        (read_only,) = only_row(cursor)
    if read_only:
        raise UserError(
            "the database is read-only: its disk is full (Aiven then stops writes; use a larger "
            "plan or delete data), or it is a standby: set POSTGRES_HOST to the primary"
        )
    info = connection.info
    return f"{info.user!r} is accepted, PostgreSQL {info.server_version // 10_000}"


def _check_pooler(settings: Settings, connection: Connection) -> str:
    """Check that the connection has a server process of its own.

    A pooler in transaction mode gives the process of one transaction to the next one of any client.
    """
    with closing(connect(settings, application=APPLICATION)) as other:
        processes = [_server_process(each) for each in (connection, other, connection)]
    if processes[0] == processes[1] or processes[0] != processes[2]:
        raise UserError(
            "a pooler between this machine and PostgreSQL shares server connections between "
            "transactions, so that locks and temporary tables are lost; set POSTGRES_HOST and "
            "POSTGRES_PORT to PostgreSQL itself, or the pooler's mode to session (PgBouncer: "
            "pool_mode = session)"
        )
    if processes[0] == connection.info.backend_pid:
        return "none"
    return "in session mode"


def _server_process(connection: Connection) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_SERVER_PROCESS)
        return int(only_row(cursor)[0])


def _check_tables(connection: Connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute(MISSING_TABLES, [list(TABLES)])
        missing = [name for (name,) in cursor.fetchall()]
    if missing:
        grant = create_rights(connection).missing_grant()
        first = f"let an administrator run: {grant} (on Aiven: python -m clickstream grant), then"
        which = "the tables" if missing == list(TABLES) else f"the tables {', '.join(missing)}"
        raise UserError(
            f"{which} are missing; {first if grant else 'run'}: python create_schema.py"
        )
    return "all present"


def _check_rights(connection: Connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute(MISSING_RIGHTS, [list(TABLES)])
        missing = cursor.fetchall()
    if missing:
        grants = "; ".join(
            f'GRANT {rights} ON {table} TO "{role}"' for table, rights, role in missing
        )
        raise UserError(f"rights are missing; let the owner of the tables run: {grants}")
    return "may read and write every table"


def _check_version(connection: Connection) -> str:
    with connection.cursor() as cursor:
        version = schema_version.require(cursor)
    return f"version {version}"


def _check_rule(rule: Rule, connection: Connection) -> str:
    with connection.cursor() as cursor:
        if not stored_rule.read_version(cursor):
            return "none stored yet"
        stored_rule.require(cursor, rule)
    return "as in the settings"


def _check_reading(settings: Settings, connection: Connection) -> str:
    """Check that consumers with these settings read records as the stored reading says."""
    with connection.cursor() as cursor:
        stored_reading.require(cursor, reading_of(settings))
    return "as in the settings"


def _describe_retention(connection: Connection) -> str:
    with connection.cursor() as cursor:
        kept_from = event_retention.read_kept_from(cursor)
    if kept_from is None:
        return "all events are kept"
    return f"events before {format_time(kept_from)} are not kept"
