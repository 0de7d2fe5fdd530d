"""Databases of the tests: statements that make and drop them, and a query on one."""

from typing import Any, Protocol

CREATE_DATABASE = 'CREATE DATABASE "{name}"'
COPY_DATABASE = 'CREATE DATABASE "{name}" TEMPLATE "{template}"'
# PostgreSQL copies only a database without connections; TimescaleDB's workers would connect.
CLOSE_DATABASE = 'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'
DISCONNECT_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
DROP_DATABASE = 'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'


class Query(Protocol):
    """The fixture `query`: runs a statement on the test's database and returns its rows."""

    def __call__(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]: ...
