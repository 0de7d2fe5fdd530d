"""A warning while PostgreSQL does not answer, and an end of the wait if a stop is requested."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE

from clickstream.clients.postgres import Connection
from clickstream.signals import Stop

logger = logging.getLogger(__name__)

SILENT_SECONDS = 5.0
CHECK_SECONDS = 0.5


class PostgresWatch:
    """Watches the commands on each connection from a thread of its own.

    libpq waits for an answer without limit, in C code, where Python handles no signal. A server
    that is frozen, or that waits for a lock, keeps the connection open. If several connections wait
    at the same time, there is one warning.

    address: that of PostgreSQL. stop: ends the connection if there is no answer.
    """

    def __init__(self, address: str, stop: Stop) -> None:
        self._address = address
        self._stop = stop
        self._lock = Lock()
        self._silent = 0  # number of connections that have waited for SILENT_SECONDS
        self._is_stopping = False

    @contextmanager
    def watching(self, connection: Connection) -> Iterator[None]:
        """Watch the commands of this context, which is the only user of the connection.

        Logs a warning if one has waited for SILENT_SECONDS. If a stop is requested then, the
        command fails with psycopg2.OperationalError.
        """
        finished = Event()
        watcher = Thread(target=self._watch, args=(connection, finished), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()

    def _watch(self, connection: Connection, finished: Event) -> None:
        # In checks, not by a clock: a pause of this process is no silence of PostgreSQL.
        waited_seconds = 0.0
        is_silent = False
        while not finished.wait(CHECK_SECONDS):
            is_waiting = connection.info.transaction_status == TRANSACTION_STATUS_ACTIVE
            waited_seconds = waited_seconds + CHECK_SECONDS if is_waiting else 0.0
            if waited_seconds < SILENT_SECONDS:
                continue
            if not is_silent:
                is_silent = True
                self._begin_silence()
            if self._stop.requested:
                self._begin_stop()
                _shut_down(connection)
                return
        if is_silent:
            self._end_silence()

    def _begin_silence(self) -> None:
        with self._lock:
            self._silent += 1
            if self._silent == 1:
                logger.warning(
                    "%s, has not answered for %.0f s: it is busy, waits for a lock, or is frozen; "
                    "storing continues when it answers",
                    self._address,
                    SILENT_SECONDS,
                )

    def _end_silence(self) -> None:
        with self._lock:
            self._silent -= 1
            if not self._silent:
                logger.info("%s, answers again", self._address)

    def _begin_stop(self) -> None:
        with self._lock:
            if not self._is_stopping:
                self._is_stopping = True
                logger.warning("stopping without an answer of %s", self._address)


def _shut_down(connection: Connection) -> None:
    """Make the command that another thread waits for fail."""
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
