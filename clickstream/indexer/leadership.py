"""Leadership: only one of the indexers of several consumers works at a time."""

from clickstream.clients.postgres import Connection, connect, only_row
from clickstream.settings import Settings

APPLICATION = "clickstream search"
# The number is arbitrary; in ASCII it spells "index".
TRY_ADVISORY_LOCK = f"SELECT pg_try_advisory_lock({0x696E646578})"
# All queries of the indexer find their rows by an index, but the planner, which cannot estimate
# ranges of transaction ids, sometimes chooses to read whole tables.
# If the leader's process is frozen or its machine is gone, the timeouts close its connection,
# which releases the lock.
SET_SESSION_PARAMETERS = """
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET jit = off; SET work_mem = '64MB'; SET cursor_tuple_fraction = 1;
    SET idle_in_transaction_session_timeout = '3min'; SET idle_session_timeout = '3min';
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = '3min'
"""


class Leadership:
    """The advisory lock that the leader holds, and the connection that holds it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._is_held = False

    @property
    def is_held(self) -> bool:
        """Return True if this process held the lock when it last used it."""
        return self._is_held

    def acquire(self) -> Connection | None:
        """Return the connection that holds the lock; None if another process holds it.

        Raises psycopg2.Error.
        """
        if self._connection is None:
            self._connection = connect(self._settings, application=APPLICATION)
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(SET_SESSION_PARAMETERS)
        if not self._is_held:
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(TRY_ADVISORY_LOCK)
                (self._is_held,) = only_row(cursor)
        return self._connection if self._is_held else None

    def release(self) -> None:
        """Close the connection, which releases the lock; `acquire` opens another."""
        self._is_held = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
