"""Several consumers in one group: they come, go, die and freeze, and the sessions stay exact."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from time import monotonic

import psutil
import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from clickstream.storage.positions import STOP_WRITERS
from tests.services import oracle
from tests.services.databases import Query
from tests.services.records import event, random_events, send, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, Script, StartScript
from tests.services.waiting import eventually

SMALL_BATCHES = {"CONSUMER_BATCH_EVENTS": "100", "CONSUMER_BATCH_MS": "50"}
WRITE_NO_SESSION = "LOCK TABLE session_metrics IN EXCLUSIVE MODE"
HELD_UP = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'clickstream consumer'
      AND wait_event_type = 'Lock'
"""
OWNERS = "SELECT DISTINCT owner FROM stream_positions"


@contextmanager
def holding(settings: Settings, lock: str) -> Iterator[None]:
    """A lock that consumers wait for in their batches."""
    with closing(connect(settings, application="lock")) as connection:
        with connection.cursor() as cursor:
            cursor.execute(lock)
        yield


def owned_by(query: Query, *consumers: Script) -> bool:
    """Whether each of these consumers holds partitions, and nobody else."""
    owners = [owner.rpartition(" ")[2] for (owner,) in query(OWNERS)]
    return sorted(owners) == sorted(str(consumer.pid) for consumer in consumers)


def test_consumers_join_and_leave_under_load(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """One leaves by itself, one is killed, and traffic never stops."""
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


@pytest.mark.parametrize(
    "lock", [STOP_WRITERS, WRITE_NO_SESSION], ids=["before a batch", "in the middle of a batch"]
)
def test_a_zombie_cannot_commit(
    lock: str,
    environment: dict[str, str],
    settings: Settings,
    start_script: StartScript,
    query: Query,
) -> None:
    """Frozen with a batch in its hands, it wakes up when another has stored it and more."""
    events = random_events(900, visitors=30, seed=1)
    zombie = start_script("consumer.py", **SMALL_BATCHES)
    send_by_visitor(environment, events[:300])
    wait_until_read(query, 300)
    with holding(settings, lock):
        send_by_visitor(environment, events[300:600])
        eventually(lambda: query(HELD_UP) == [(1,)])
        zombie.send_signal(SIGSTOP)
        eventually(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED)
    heir = start_script("consumer.py", **SMALL_BATCHES)
    wait_until_read(query, 600)
    assert owned_by(query, heir)
    send_by_visitor(environment, events[600:])
    wait_until_read(query, len(events))
    zombie.send_signal(SIGCONT)
    eventually(lambda: owned_by(query, heir, zombie))
    assert "Traceback" not in heir.output + zombie.output
    assert oracle.check(environment)["records"] == len(events)


def test_partitions_are_added_while_several_consumers_run(
    environment: dict[str, str],
    admin: KafkaAdminClient,
    start_script: StartScript,
    query: Query,
) -> None:
    """They share the new ones too, and warn that visitors may have moved."""
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
    eventually(lambda: "partitions were added" in first.output + second.output)
    assert oracle.check(environment)["rows"] == 300


@pytest.mark.parametrize("partitions", [1], indirect=True)
def test_a_drain_ends_also_where_another_holds_every_partition(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """It has nothing to read, and waits until the other has stored everything."""
    events = random_events(200, visitors=5, seed=2)
    start_script("consumer.py")
    send(environment, events)
    wait_until_read(query, len(events))
    assert run_script("consumer.py", "--drain").returncode == 0
    oracle.check(environment)


def test_records_without_key_at_two_consumers_are_warned_of_and_repaired_by_a_rebuild(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """A visitor at two consumers at once: no event is lost, and the sessions can be made exact."""
    first, second = (start_script("consumer.py", **SMALL_BATCHES) for _ in range(2))
    eventually(lambda: owned_by(query, first, second))
    command = ["producer.py", "--events", "3000", "--unkeyed", "--seed", "1", "--rate", "1000"]
    assert run_script(*command).returncode == 0
    wait_until_read(query, 3_000)
    assert "without key" in first.output + second.output
    assert run_script("create_schema.py", "--rebuild-sessions").returncode == 0
    assert oracle.check(environment)["rows"] == 3_000


def test_one_that_is_stopped_while_it_joins_does_not_hold_up_the_next(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """It joins behind one that was killed, which takes a while, and then leaves properly."""
    events = random_events(300, visitors=10, seed=9)
    killed = start_script("consumer.py")
    eventually(lambda: owned_by(query, killed))
    killed.send_signal(SIGKILL)
    stopped = start_script("consumer.py")
    began = monotonic()
    eventually(lambda: monotonic() > began + 4)
    stopped.send_signal(SIGTERM)
    assert stopped.wait(40) == 0
    assert "reading partitions" not in stopped.output
    send_by_visitor(environment, events)
    assert run_script("consumer.py", "--drain").returncode == 0
    assert oracle.check(environment)["records"] == len(events)
