"""Indexers in the test's own process, driven turn by turn, with a clock that the test moves."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from random import Random
from threading import Event
from time import monotonic

from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection
from clickstream.indexer import backlog
from clickstream.indexer.indexer import CHECK_SECONDS, ROWS_PER_STEP, Indexer
from clickstream.settings import Settings
from tests.services import search_oracle
from tests.services.waiting import eventually


class ManualClock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@contextmanager
def open_indexer(
    settings: Settings,
    *,
    clock: Callable[[], float] = monotonic,
    rows_per_step: int = ROWS_PER_STEP,
) -> Iterator[Indexer]:
    """Yield an indexer, which is closed at the end."""
    made = Indexer(settings, Random(1), Event().wait, clock=clock, rows_per_step=rows_per_step)
    with closing(made):
        yield made


def advance(indexer: Indexer) -> None:
    """Take turns until one has nothing to index."""
    while indexer.turn():
        pass


def catch_up(indexer: Indexer, connection: Connection) -> None:
    """Take turns until everything is indexed, even if transactions of other tests delay that."""

    def caught_up() -> bool:
        advance(indexer)
        return is_caught_up(connection)

    eventually(caught_up)


def is_caught_up(connection: Connection) -> bool:
    """Return True if everything that is stored is indexed."""
    with connection, connection.cursor() as cursor:
        return backlog.read(cursor).caught_up


def check_indexes(indexer: Indexer, clock: ManualClock, connection: Connection) -> None:
    """Let an indexer check its indexes, as it does every few seconds, and catch up."""
    clock.seconds += CHECK_SECONDS
    catch_up(indexer, connection)


def assert_indexed(indexer: Indexer, connection: Connection, client: OpenSearch) -> None:
    """Let an indexer catch up, and assert that the index matches PostgreSQL."""
    catch_up(indexer, connection)
    search_oracle.check_documents(connection, client)
