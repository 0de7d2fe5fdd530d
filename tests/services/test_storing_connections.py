"""The connections of a consumer: one for each storing thread, which owns its partitions."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from clickstream.consumer.batch import Batch, ParsedBatch
from clickstream.consumer.database import Database
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.model.reading import NATIVE_READING
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage import write_lock
from clickstream.storage.positions import IncreasedEpochsError
from tests.services.batches import TOPIC
from tests.services.databases import Query

OWNERS = """
    SELECT p.partition, a.pid IS NOT NULL, p.owner_pid
    FROM stream_positions p LEFT JOIN pg_stat_activity a ON a.pid = p.owner_pid
    ORDER BY p.partition
"""


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings, Stop(), lambda: datetime.now(UTC), NewUserAgents())
    yield database
    database.reset()


def test_each_partition_is_owned_by_the_connection_that_stores_it(
    database: Database, query: Query
) -> None:
    """Another consumer that acquires it ends this connection if it is frozen in a transaction."""
    database.acquire(TOPIC, dict.fromkeys(range(4), 0), "a member")
    numbers, connected, backends = zip(*query(OWNERS), strict=True)
    assert (numbers, connected) == ((0, 1, 2, 3), (True,) * 4)
    assert backends[:2] == backends[2:]
    assert backends[0] != backends[1]


def test_a_consumer_acquires_partitions_again_that_its_other_connection_owns(
    database: Database, query: Query
) -> None:
    database.acquire(TOPIC, {1: 0, 2: 0}, "a member")
    before = query(OWNERS)
    database.acquire(TOPIC, {2: 0}, "a member")
    assert [row[2] for row in query(OWNERS)] == [before[0][2]] * 2


def test_a_command_that_increased_the_epochs_is_not_mistaken_for_another_owner(
    database: Database,
) -> None:
    """A batch that is not full has partitions of both connections."""
    assignment = database.acquire(TOPIC, {0: 0, 1: 0}, "a member")
    with database.transaction() as cursor:
        write_lock.exclude_consumers(cursor)
    with pytest.raises(IncreasedEpochsError):
        database.store(0, assignment, ParsedBatch(Batch({}, {0: 0, 1: 0}), NATIVE_READING))
