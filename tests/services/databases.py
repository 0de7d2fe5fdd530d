"""Databases of the tests: statements that make and drop them, and a query on one."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Protocol

from clickstream.clients.postgres import connect
from clickstream.settings import Settings

CREATE_DATABASE = 'CREATE DATABASE "{name}"'
COPY_DATABASE = 'CREATE DATABASE "{name}" TEMPLATE "{template}"'
# PostgreSQL copies only a database without connections; TimescaleDB's workers would connect.
CLOSE_DATABASE = 'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'
DISCONNECT_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
# Returns the number of connections that were ended, of consumers of this database.
DISCONNECT_CONSUMERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'clickstream consumer'
"""
DROP_DATABASE = 'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'


class Query(Protocol):
    """The fixture `query`: runs a statement on the test's database and returns its rows."""

    def __call__(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]: ...


def query_of(environment: Mapping[str, str]) -> Query:
    """Return `query` for a server of the test's own, which may be down between calls."""
    settings = Settings.from_mapping(environment)

    def run(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with closing(connect(settings, application="test")) as own, own.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    return run
