"""Locks that block a consumer in the middle of a batch."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from tests.services.databases import Query
from tests.services.waiting import eventually

# Blocks a consumer before it has inserted the events of a batch.
LOCK_EVENTS = "LOCK TABLE clickstream_events IN EXCLUSIVE MODE"
# Blocks a consumer after it has inserted the events of a batch.
LOCK_SESSIONS = "LOCK TABLE session_metrics IN EXCLUSIVE MODE"
COUNT_BLOCKED_CONSUMERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'clickstream consumer'
      AND wait_event_type = 'Lock'
"""


@contextmanager
def holding(settings: Settings, lock: str) -> Iterator[None]:
    """Hold a lock, given as the statement that acquires it."""
    with closing(connect(settings, application="lock")) as connection:
        with connection.cursor() as cursor:
            cursor.execute(lock)
        yield


def wait_until_blocked(query: Query) -> None:
    """Wait until a consumer waits for a lock, with one of its connections or more."""
    eventually(lambda: query(COUNT_BLOCKED_CONSUMERS) != [(0,)])
