"""The indexer in a thread of its own, while the consumer's loop or a command runs."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from time import monotonic

import psycopg2

from clickstream.backoff import Backoff
from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import connection_failure
from clickstream.errors import UserError
from clickstream.indexer.backlog import stuck_error, wait_until_indexed
from clickstream.indexer.checkpoint import CheckpointLostError
from clickstream.indexer.indexer import INDEXER_ERRORS, Indexer
from clickstream.indexer.opensearch_errors import MALFORMED_REPLY_ERRORS, describe_error, remedy
from clickstream.indexer.ownership import ForeignIndexError, describe_refusal
from clickstream.settings import Settings
from clickstream.signals import Stop

logger = logging.getLogger(__name__)

# Pauses between turns: if there was nothing to index, and if another indexer is the leader.
IDLE_SECONDS = 0.5
STANDBY_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 10.0
CATCH_UP_SECONDS = 10.0
# While the consumer is behind, the indexer rests this many times as long as a turn took.
REST_TURNS = 2
# The longest of these rests.
MAX_REST_SECONDS = 5.0


@contextmanager
def running_indexer(
    settings: Settings, is_consumer_behind: Callable[[], bool] = lambda: False
) -> Iterator["BackgroundIndexer"]:
    """Yield a running indexer; at the end, let it catch up for at most CATCH_UP_SECONDS.

    is_consumer_behind: see BackgroundIndexer.
    """
    indexer = BackgroundIndexer(settings, Random(), is_consumer_behind)
    indexer.start()
    try:
        yield indexer
    finally:
        indexer.stop(CATCH_UP_SECONDS)


class BackgroundIndexer:
    """A thread that repeats the indexer's turns, with exponential backoff after failures.

    is_consumer_behind: returns True while records wait for the consumer of this process. The
    indexer then rests after each turn twice as long as the turn took, because both need the
    same processors and the same PostgreSQL.
    """

    def __init__(
        self,
        settings: Settings,
        random: Random,
        is_consumer_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, random)
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(is_consumer_behind,), name="search", daemon=True
        )
        self._indexer = Indexer(settings, random, self._stopping.wait)
        self._refusal = ""  # a sentence for the user if the indexes belong to another owner
        self._failures = 0
        self._last_warning = ""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Let the indexer catch up with PostgreSQL, for at most this many seconds, and end it."""
        self._stopping.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning(
                "the search index is not up to date yet; the next consumer continues with it"
            )

    def catch_up(self, stop: Stop) -> bool:
        """Wait until everything that is stored now is indexed, by this indexer or the leader.

        Return False at a stop. Raises UserError if the index makes no progress, or if the indexes
        belong to another owner.
        """
        if wait_until_indexed(self._settings, stop, is_refused=lambda: bool(self._refusal)):
            return True
        if stop.requested:
            return False
        raise UserError(self._refusal) if self._refusal else stuck_error(self._settings)

    def _run(self, is_consumer_behind: Callable[[], bool]) -> None:
        """Take turns until a stop is requested and a turn finds nothing to index or fails."""
        pause = 0.0
        try:
            while not pause or not self._stopping.wait(pause):
                started = monotonic()
                pause = self._try_turn()
                if not pause and is_consumer_behind():
                    # A stop ends the rest, and not the turns.
                    rest = REST_TURNS * (monotonic() - started)
                    self._stopping.wait(min(rest, MAX_REST_SECONDS))
        finally:
            self._indexer.close()

    def _try_turn(self) -> float:
        """Take one turn; return the seconds to wait before the next."""
        try:
            pause = self._turn()
        except CheckpointLostError:
            return 0.0
        except INDEXER_ERRORS as error:
            return self._handle_failure(error)
        if self._failures and self._indexer.leadership.is_held:
            logger.info("indexing into %s again", opensearch_address(self._settings))
        self._refusal, self._failures, self._last_warning = "", 0, ""
        return pause

    def _turn(self) -> float:
        was_leader = self._indexer.leadership.is_held
        if self._indexer.leadership.acquire() is None:
            return STANDBY_SECONDS
        if not was_leader and not self._failures:
            logger.info("indexing into %s", opensearch_address(self._settings))
        return 0.0 if self._indexer.turn() else IDLE_SECONDS

    def _handle_failure(self, error: Exception) -> float:
        """Warn once of each kind of failure, give up leadership, and return the pause."""
        warning = self._describe(error)
        self._refusal = warning if isinstance(error, ForeignIndexError) else ""
        if warning != self._last_warning:
            logger.warning("%s", warning, exc_info=isinstance(error, MALFORMED_REPLY_ERRORS))
        self._last_warning = warning
        self._indexer.release()
        self._failures += 1
        return self._backoff.seconds(self._failures)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, psycopg2.Error):
            return f"the search index waits for PostgreSQL ({connection_failure(error)})"
        address = opensearch_address(self._settings)
        if isinstance(error, ForeignIndexError):
            return describe_refusal(address, error)
        cure = remedy(error)
        return (
            f"cannot index into {address} ({describe_error(error)}); {cure}{cure and '; '}"
            "storing in PostgreSQL continues, and the index catches up by itself"
        )
