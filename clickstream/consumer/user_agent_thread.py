"""A thread that parses the user agents of stored events, beside the consumer's loop."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from clickstream.clients.postgres import Connection, connect
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.errors import first_line
from clickstream.model.user_agents import UserAgentParser
from clickstream.settings import Settings
from clickstream.storage import user_agent_table

logger = logging.getLogger(__name__)

APPLICATION = "clickstream user agents"
# Parsing and storing this many takes less than 0.1 s, so it takes little from the loop.
TEXTS_PER_STEP = 500
PAUSE_SECONDS = 1.0
FAILURE_PAUSE_SECONDS = 10.0
STOP_SECONDS = 10.0


@contextmanager
def parsing_user_agents(settings: Settings) -> Iterator[NewUserAgents]:
    """Yield the texts that wait to be parsed, while a thread parses those that are added.

    At the end it parses all that wait, for at most STOP_SECONDS.
    """
    waiting = NewUserAgents()
    thread = UserAgentThread(settings, waiting)
    thread.start()
    try:
        yield waiting
    finally:
        thread.stop(STOP_SECONDS)


class UserAgentThread:
    """Parses and stores waiting texts, TEXTS_PER_STEP at a time, with a pause after each step.

    It uses a connection of its own, only while texts wait. If PostgreSQL fails, the texts wait, and
    the consumer's loop does not notice it.
    """

    def __init__(self, settings: Settings, waiting: NewUserAgents) -> None:
        self._settings = settings
        self._waiting = waiting
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="user agents", daemon=True)
        self._parser: UserAgentParser | None = None
        self._connection: Connection | None = None
        self._last_warning = ""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Let the thread parse the texts that wait, for at most this many seconds, and end it."""
        self._stopping.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._stopping.wait(pause):
            pause = PAUSE_SECONDS if self._try_step() else FAILURE_PAUSE_SECONDS
        while self._waiting.first(1) and self._try_step():
            pass
        self._disconnect()

    def _try_step(self) -> bool:
        """Parse and store some of the texts that wait; return False if PostgreSQL fails."""
        texts = self._waiting.first(TEXTS_PER_STEP)
        if not texts:
            self._disconnect()
            return True
        try:
            self._store(texts)
        except psycopg2.Error as error:
            self._disconnect()
            self._warn(f"user agents wait for PostgreSQL ({first_line(error)})")
            return False
        self._waiting.remove(texts)
        self._last_warning = ""
        return True

    def _store(self, texts: list[str]) -> None:
        if self._parser is None:
            self._parser = UserAgentParser()
        parsed = {text: self._parser.parse(text) for text in texts}
        if self._connection is None:
            self._connection = connect(self._settings, application=APPLICATION)
        with self._connection, self._connection.cursor() as cursor:
            user_agent_table.insert(cursor, parsed, self._parser.rules_version)

    def _warn(self, warning: str) -> None:
        """Warn once of each kind of failure."""
        if warning != self._last_warning:
            logger.warning("%s; storing events continues", warning)
        self._last_warning = warning

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
