"""Several consumers in one group: the sessions stay exact if they join, leave, die or freeze."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import cycle
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from threading import Event
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import KafkaError

from clickstream.clients.kafka import connection_options
from clickstream.clients.kafka_private import resume_join
from clickstream.settings import Settings
from clickstream.storage.write_lock import ACQUIRE_WRITE_LOCK
from tests.services import oracle
from tests.services.databases import Query
from tests.services.locks import LOCK_SESSIONS, holding, wait_until_blocked
from tests.services.records import (
    event,
    random_events,
    send,
    send_by_visitor,
    send_keyed,
    wait_until_read,
)
from tests.services.scripts import RunScript, Script, StartScript
from tests.services.waiting import eventually, pause

SMALL_BATCHES = {"CONSUMER_BATCH_EVENTS": "100", "CONSUMER_BATCH_MS": "50"}
OWNERS = "SELECT DISTINCT owner FROM stream_positions"


def owned_by(query: Query, *consumers: Script) -> bool:
    """Return True if each of these consumers owns partitions and nobody else does."""
    owners = [owner.rpartition(" ")[2] for (owner,) in query(OWNERS)]
    return sorted(owners) == sorted(str(consumer.pid) for consumer in consumers)


@pytest.mark.long
def test_sessions_stay_exact_if_consumers_join_leave_and_die_under_load(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Records are sent all the time."""
    traffic = start_script("producer.py", "--events", "20000", "--rate", "1000", "--seed", "1")
    first = start_script("consumer.py", **SMALL_BATCHES)
    eventually(lambda: owned_by(query, first))
    second = start_script("consumer.py", **SMALL_BATCHES)
    eventually(lambda: owned_by(query, first, second))
    third = start_script("consumer.py", **SMALL_BATCHES)
    eventually(lambda: owned_by(query, first, second, third))
    second.send_signal(SIGTERM)
    assert second.wait() == 0
    third.send_signal(SIGKILL)
    eventually(lambda: owned_by(query, first))
    assert traffic.wait() == 0
    eventually(lambda: query("SELECT count(*) FROM clickstream_events") == [(20_000,)])
    assert "Traceback" not in first.output + second.output + third.output
    counters = oracle.check(environment)
    assert (counters["rows"], counters["records"]) == (20_000, 20_000)


@pytest.mark.long
def test_a_killed_consumer_is_removed_from_the_group_before_its_session_times_out(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """The other consumer removes it; if none runs, the next one does so before it joins."""
    first, second = (start_script("consumer.py", **SMALL_BATCHES) for _ in range(2))
    eventually(lambda: owned_by(query, first, second))
    first.kill()
    second.wait_for_output("which has ended, from its group")
    eventually(lambda: owned_by(query, second))
    second.kill()
    third = start_script("consumer.py", **SMALL_BATCHES)
    third.wait_for_output("which has ended, from its group")
    eventually(lambda: owned_by(query, third))
    third.send_signal(SIGTERM)
    assert third.wait() == 0
    assert query("SELECT DISTINCT member_id FROM stream_positions") == [(None,)]
    oracle.check(environment)


@pytest.mark.long
@pytest.mark.parametrize(
    "lock", [ACQUIRE_WRITE_LOCK, LOCK_SESSIONS], ids=["before a batch", "in the middle of a batch"]
)
def test_a_frozen_consumer_cannot_commit_after_another_took_over(
    lock: str,
    environment: dict[str, str],
    settings: Settings,
    start_script: StartScript,
    query: Query,
) -> None:
    """It resumes its batch after another consumer has stored those records and more."""
    events = random_events(900, visitors=30, seed=1)
    frozen = start_script("consumer.py", **SMALL_BATCHES)
    send_by_visitor(environment, events[:300])
    wait_until_read(query, 300)
    with holding(settings, lock):
        send_by_visitor(environment, events[300:600])
        wait_until_blocked(query)
        frozen.send_signal(SIGSTOP)
        eventually(lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED)
    successor = start_script("consumer.py", **SMALL_BATCHES)
    wait_until_read(query, 600)
    assert owned_by(query, successor)
    send_by_visitor(environment, events[600:])
    wait_until_read(query, len(events))
    frozen.send_signal(SIGCONT)
    eventually(lambda: owned_by(query, successor, frozen))
    assert "Traceback" not in successor.output + frozen.output
    assert oracle.check(environment)["records"] == len(events)


def test_consumers_share_partitions_that_are_added_while_they_run(
    environment: dict[str, str],
    admin: KafkaAdminClient,
    start_script: StartScript,
    query: Query,
) -> None:
    first, second = (start_script("consumer.py", **SMALL_BATCHES) for _ in range(2))
    eventually(lambda: owned_by(query, first, second))
    try:
        admin.create_partitions({environment["KAFKA_TOPIC"]: 6})
    except KafkaError as error:
        pytest.skip(f"this broker cannot add partitions: {error}")
    eventually(lambda: query("SELECT count(*) FROM stream_positions") == [(6,)])
    for partition in range(6):
        events = [event(f"visitor {partition}", seconds) for seconds in range(50)]
        eventually(partial(send, environment, events, partition))
    wait_until_read(query, 300)
    eventually(lambda: owned_by(query, first, second))
    assert oracle.check(environment)["rows"] == 300


@pytest.mark.long
@pytest.mark.parametrize("partitions", [1], indirect=True)
def test_a_drain_ends_if_another_consumer_owns_every_partition(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """It reads nothing, and waits until the other has stored everything."""
    events = random_events(200, visitors=5, seed=2)
    start_script("consumer.py")
    send(environment, events)
    wait_until_read(query, len(events))
    assert run_script("consumer.py", "--drain").returncode == 0
    oracle.check(environment)


@pytest.mark.long
def test_sessions_stay_exact_if_events_of_one_visitor_come_from_several_partitions(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """The keys are pages at first, then visitors with several partitioners. One consumer dies."""
    chance = Random(11)
    events = random_events(2_000, visitors=40, seed=11)

    def send_by_page(some: list[Any]) -> None:
        send_keyed(environment, some, key=lambda _: b"/products/%d" % chance.randrange(100))

    def send_scattered(some: list[Any]) -> None:
        send_keyed(environment, some, partition=lambda _: chance.randrange(3))

    first, killed = (start_script("consumer.py", **SMALL_BATCHES) for _ in range(2))
    eventually(lambda: owned_by(query, first, killed))
    send_by_page(events[:600])
    warning = "another consumer stores events of the same visitors at the same time "
    cause = f"{warning}(the key of a record is not its user_id: partition "
    more: list[Any] = []

    def is_named() -> bool:
        """Send more until it is: on a busy machine the two may store one after the other."""
        if cause in first.output + killed.output:
            return True
        some = random_events(20, visitors=40, seed=100 + len(more))
        more.extend(some)
        send_by_page(some)
        return False

    eventually(is_named)
    send_by_page(events[600:1_000])
    killed.send_signal(SIGKILL)
    send_scattered(events[1_000:1_400])
    third = start_script("consumer.py", **SMALL_BATCHES)
    eventually(lambda: owned_by(query, first, third))
    send_scattered(events[1_400:])
    wait_until_read(query, len(events) + len(more))
    assert "Traceback" not in first.output + third.output
    assert max(first.output.count(warning), third.output.count(warning)) <= 1
    assert oracle.check(environment)["records"] == len(events) + len(more)


def test_sessions_stay_exact_if_a_consumer_reads_a_visitor_from_several_partitions(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    """A consumer that is behind stores two shares of the partitions at the same time."""
    visits = [event(f"visitor {n}", seconds) for n in range(1_000) for seconds in (0, 60)]
    turns = cycle((0, 1))
    send_keyed(environment, visits, partition=lambda _: next(turns))
    assert run_script("consumer.py", "--drain", CONSUMER_BATCH_EVENTS="1500").returncode == 0
    assert oracle.check(environment)["records"] == 2_000
    assert query("SELECT count(*) FROM session_metrics") == [(1_000,)]


@pytest.mark.long
def test_a_consumer_stopped_while_it_joins_does_not_block_the_next_one(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """It joins after one that was killed, which takes a while, and then leaves the group."""
    events = random_events(300, visitors=10, seed=9)
    killed = start_script("consumer.py")
    eventually(lambda: owned_by(query, killed))
    killed.send_signal(SIGKILL)
    stopped = start_script("consumer.py")
    stopped.wait_for_output("nothing is indexed into OpenSearch")  # then it joins
    pause(2)
    stopped.send_signal(SIGTERM)
    assert stopped.wait() == 0
    send_by_visitor(environment, events)
    assert run_script("consumer.py", "--drain").returncode == 0
    assert oracle.check(environment)["records"] == len(events)


@pytest.mark.long
@contextmanager
def foreign_member(settings: Settings) -> Iterator[Callable[[], list[int]]]:
    """Run a member of the group that stores nothing; yield a function that returns its partitions.

    Its thread polls all the time: Kafka removes a member that does not.
    """
    partitions: list[int] = []
    stopped = Event()

    def poll() -> None:
        with closing(
            KafkaConsumer(
                settings.kafka_topic,
                group_id=settings.kafka_group_id,
                session_timeout_ms=6_000,
                max_poll_interval_ms=10_000,
                enable_auto_commit=False,
                **connection_options(settings),
            )
        ) as member:
            while not stopped.is_set():
                resume_join(member)
                member.poll(200)
                partitions[:] = sorted(each.partition for each in member.assignment())

    with ThreadPoolExecutor(1) as thread:
        polling = thread.submit(poll)
        try:
            yield lambda: partitions
        finally:
            stopped.set()
        polling.result()


def test_partitions_of_a_foreign_member_of_the_group_count_as_lag_and_are_named(
    environment: dict[str, str], settings: Settings, start_script: StartScript
) -> None:
    """A drain waits for them, too."""
    for partition in range(3):
        send(environment, [event(f"v{partition}", n) for n in range(5)], partition)
    with foreign_member(settings) as partitions:
        eventually(partitions)
        consumer = start_script("consumer.py", "--drain")
        eventually(
            lambda: (
                f"partitions {partitions()} of topic {settings.kafka_topic} are read by nobody"
                in consumer.output
            )
        )
        assert consumer.is_running
    assert consumer.wait() == 0, "when the foreign member left, the rest is read"
