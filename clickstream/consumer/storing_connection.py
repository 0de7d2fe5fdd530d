"""A connection to PostgreSQL for a thread that stores batches."""

from collections.abc import Callable
from time import monotonic

from clickstream.clients.postgres import Connection, connect, only_row
from clickstream.consumer.interval import Interval
from clickstream.settings import Settings

APPLICATION = "clickstream consumer"
# A consumer that is frozen in a transaction loses its locks after this time, unless the next owner
# of its partitions has ended its backend before. A batch joins its rows with large tables by their
# keys: a hash join or a merge join would read the whole table.
PREPARE = """
    SET idle_in_transaction_session_timeout = '60s';
    SET cursor_tuple_fraction = 1;
    SET enable_hashjoin = off; SET enable_mergejoin = off;
    SELECT pg_backend_pid()
"""
# The temporary tables that batches use are dropped this often. While they exist, PostgreSQL cannot
# move datfrozenxid of the database beyond their creation: after months it would refuse to write.
TEMPORARY_TABLES_SECONDS = 3600.0
DISCARD_TEMPORARY_TABLES = "DISCARD TEMP"


class StoringConnection:
    """A connection that is opened at its first use, and again after `close`.

    clock: returns seconds; it never goes back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._backend = 0
        self._temporary_tables = Interval(TEMPORARY_TABLES_SECONDS, clock)

    def get(self) -> Connection:
        """Return the connection. Raises psycopg2.OperationalError if it cannot be opened."""
        if self._connection is None:
            connection = connect(self._settings, application=APPLICATION)
            with connection, connection.cursor() as cursor:
                cursor.execute(PREPARE)
                (self._backend,) = only_row(cursor)
            self._connection = connection
            self._temporary_tables.restart()
        elif self._temporary_tables.is_over:
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(DISCARD_TEMPORARY_TABLES)
            self._temporary_tables.restart()
        return self._connection

    @property
    def backend(self) -> int:
        """Process id of its backend in PostgreSQL; 0 if it is not open."""
        return self._backend

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection, self._backend = None, 0
