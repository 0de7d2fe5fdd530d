"""The connections of a consumer: one for each storing thread, which owns its partitions."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from signal import SIGTERM
from typing import Any

import pytest

from clickstream.clients.postgres import Connection, connect
from clickstream.clients.record_batch import Record
from clickstream.consumer import postgres_watch
from clickstream.consumer.batch import Batch, ParsedBatch, parse_batch
from clickstream.consumer.database import Database
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.consumer.postgres_watch import PostgresWatch
from clickstream.consumer.session_closer import SessionCloser
from clickstream.consumer.shares import STORING_THREADS
from clickstream.consumer.transaction import check_assignment
from clickstream.errors import UserError
from clickstream.model.reading import NATIVE_READING
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage import positions, write_lock
from clickstream.storage.positions import IncreasedEpochsError, TopicIdentity
from tests.services import oracle
from tests.services.batches import TOPIC, owner_on
from tests.services.databases import Query
from tests.services.locks import COUNT_BLOCKED_CONSUMERS, LOCK_EVENTS, holding
from tests.services.records import event, key_of, send, value_of, wait_until_read
from tests.services.scripts import StartScript
from tests.services.waiting import eventually

OWNERS = """
    SELECT p.partition, a.pid IS NOT NULL, p.owner_pid
    FROM stream_positions p LEFT JOIN pg_stat_activity a ON a.pid = p.owner_pid
    ORDER BY p.partition
"""
# The connection that was unused for longest.
LAST_USES = """
    SELECT count(*), min(state_change) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'clickstream consumer'
"""
CLOSED = "SELECT user_id FROM session_metrics WHERE closed_at IS NOT NULL ORDER BY user_id"
# More than the session timeout, in seconds.
HOUR = 3600


@pytest.fixture
def consumer(settings: Settings) -> Iterator[Database]:
    database = Database(settings, Stop(), lambda: datetime.now(UTC), NewUserAgents())
    yield database
    database.reset()


def batch_of(partition: int, contents: Sequence[dict[str, Any]]) -> ParsedBatch:
    """Return the first batch of a partition."""
    records = [
        Record(TOPIC.name, partition, offset, 0, key_of(each), value_of(each))
        for offset, each in enumerate(contents)
    ]
    batch = Batch({partition: records}, {partition: len(records)})
    return parse_batch(batch, now=datetime.now(UTC), reading=NATIVE_READING)


def test_each_partition_is_owned_by_the_connection_that_stores_it(
    consumer: Database, query: Query
) -> None:
    """Another consumer that acquires it ends this connection if it is frozen in a transaction."""
    consumer.acquire(TOPIC, dict.fromkeys(range(4), 0), "a member")
    numbers, connected, backends = zip(*query(OWNERS), strict=True)
    assert (numbers, connected) == ((0, 1, 2, 3), (True,) * 4)
    assert backends[:2] == backends[2:]
    assert backends[0] != backends[1]


def test_a_consumer_acquires_partitions_again_that_its_other_connection_owns(
    consumer: Database, query: Query
) -> None:
    consumer.acquire(TOPIC, {1: 0, 2: 0}, "a member")
    before = query(OWNERS)
    consumer.acquire(TOPIC, {2: 0}, "a member")
    assert [row[2] for row in query(OWNERS)] == [before[0][2]] * 2


def test_a_consumer_without_partitions_is_refused_while_one_of_another_topic_works(
    consumer: Database, settings: Settings
) -> None:
    """Kafka gives it none if the other one, of the same group, does not know its topic."""
    with closing(connect(settings, application="another consumer")) as other:
        owner = owner_on(other, group=settings.kafka_group_id)
        positions.acquire(other, TopicIdentity("b-topic", "b-topic-id"), owner, {0: 0})
        with pytest.raises(UserError, match="stores topic 'b-topic'"):
            consumer.acquire(TOPIC, {}, "a member")


def test_a_command_that_increased_the_epochs_is_not_mistaken_for_another_owner(
    consumer: Database,
) -> None:
    """A batch that is not large has partitions of both connections."""
    assignment = consumer.acquire(TOPIC, {0: 0, 1: 0}, "a member")
    with consumer.transaction() as cursor:
        write_lock.exclude_consumers(cursor)
    with pytest.raises(IncreasedEpochsError):
        consumer.store(0, assignment, ParsedBatch(Batch({}, {0: 0, 1: 0}), NATIVE_READING))


def test_each_connection_is_used_every_few_seconds_also_while_no_records_come(
    start_script: StartScript, query: Query
) -> None:
    """An idle one could be ended by idle_session_timeout: its partitions would have no owner."""
    start_script("consumer.py")
    eventually(lambda: query("SELECT count(owner) FROM stream_positions") == [(3,)])
    ((connections, since),) = query(LAST_USES)
    assert connections == STORING_THREADS
    eventually(lambda: query(LAST_USES)[0][1] > since, seconds=30)


def test_sessions_are_closed_while_another_thread_stores_a_batch(
    consumer: Database, query: Query
) -> None:
    """That does not wait for the locks of the batch, and its visitors stay in the cache."""
    assignment = consumer.acquire(TOPIC, {0: 0, 1: 0}, "a member")
    for number in range(STORING_THREADS):
        batch = batch_of(number, [event(f"visitor {number}", 0), event(f"later {number}", HOUR)])
        assignment = assignment.advance(consumer.store(number, assignment, batch))
    with consumer.transaction(1) as cursor:
        check_assignment(cursor, assignment, {1})
        SessionCloser(consumer).close_sessions([0], assignment, [None, batch])
    assert query(CLOSED) == [("visitor 0",), ("visitor 1",)]
    assert query("SELECT partition FROM stream_positions WHERE caught_up_at IS NOT NULL") == [(0,)]
    assert len(consumer.cache) == 3


def test_the_total_counts_what_one_connection_stored_while_the_other_one_failed(
    environment: dict[str, str], settings: Settings, start_script: StartScript, query: Query
) -> None:
    for partition in range(3):
        events = [event(f"visitor {partition}", second) for second in range(50)]
        send(environment, events, partition)
    with holding(settings, LOCK_EVENTS):
        consumer = start_script("consumer.py", CONSUMER_BATCH_EVENTS="120")
        eventually(lambda: query(COUNT_BLOCKED_CONSUMERS) == [(2,)])
        query("SELECT pg_terminate_backend(owner_pid) FROM stream_positions WHERE partition = 0")
        consumer.wait_for_output("trying again")
    wait_until_read(query, 150)
    consumer.send_signal(SIGTERM)
    assert consumer.wait() == 0
    assert "150 records: 150 stored\n" in consumer.output
    oracle.check(environment)


def test_two_connections_without_an_answer_are_one_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgres_watch, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(postgres_watch, "CHECK_SECONDS", 0.05)
    caplog.set_level("INFO")
    stop = Stop()
    watch = PostgresWatch("PostgreSQL at h:1", stop)

    def wait(connection: Connection, seconds: float) -> None:
        with watch.watching(connection), connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", (seconds,))

    with ThreadPoolExecutor(2) as threads, ExitStack() as opened:
        both = [
            opened.enter_context(closing(connect(settings, application="test"))) for _ in range(2)
        ]
        for waiting in [threads.submit(wait, each, 1) for each in both]:
            waiting.result()
        assert [message.partition(",")[2].split(":")[0] for message in caplog.messages] == [
            " has not answered for 0 s",
            " answers again",
        ]
        caplog.clear()
        stopped = [threads.submit(wait, each, 60) for each in both]
        stop.request()
        assert all(each.exception() for each in stopped)
        assert len(caplog.messages) == 2
        assert caplog.messages[1] == "stopping without an answer of PostgreSQL at h:1"
