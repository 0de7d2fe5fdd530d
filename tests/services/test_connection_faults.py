"""Connections to a server are slow, stall and end: no record is lost, and none is stored twice."""

import re
from collections.abc import Callable
from functools import partial

import pytest

from clickstream.consumer.broker_watch import SILENT_SECONDS
from tests.services import oracle
from tests.services.databases import DISCONNECT_CONSUMERS, Query
from tests.services.fault_proxy import KAFKA_ANSWERS, FaultProxy, fault_proxy, kafka_fault_proxy
from tests.services.records import event, send, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.search_oracle import wait_until_equal
from tests.services.waiting import eventually, pause

SMALL_BATCHES = {"CONSUMER_BATCH_EVENTS": "100", "CONSUMER_BATCH_MS": "50"}
LOAD_EVENTS = 4_000
LOAD = ("--events", str(LOAD_EVENTS), "--rate", "300", "--seed", "1")


def inject_faults(proxy: FaultProxy, is_noticed: Callable[[], object]) -> None:
    """Delay, cut and stall the connections of a consumer that works, for 17 s.

    is_noticed: returns True if the consumer has logged its warning.
    """
    proxy.delay_seconds = 0.02
    pause(1)
    for _ in range(2):
        proxy.cut()
        pause(2)
    proxy.delay_seconds, proxy.cut_share = 0.0, 0.02
    pause(3)
    proxy.cut_share = 0.0
    proxy.stall()
    pause(SILENT_SECONDS + 2)
    eventually(is_noticed)
    proxy.resume()
    proxy.stall()
    pause(1)
    proxy.cut()
    proxy.resume()


@pytest.mark.long
@pytest.mark.parametrize(
    ("server", "warning"),
    [
        ("kafka", r"WARNING Kafka at \S+ .*has not answered for 6 s"),
        ("postgres", r"WARNING cannot reach PostgreSQL at \S+ "),
    ],
    ids=["kafka", "postgres"],
)
def test_no_fault_of_a_connection_loses_or_doubles_a_record(
    server: str,
    warning: str,
    environment: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    """A warning names the server, but not if the Kafka client at once connects again."""
    chosen = kafka_fault_proxy if server == "kafka" else partial(fault_proxy, server)
    with chosen(environment) as proxy:
        consumer = start_script("consumer.py", **{**proxy.environment, **SMALL_BATCHES})
        traffic = start_script("producer.py", *LOAD)
        eventually(lambda: query("SELECT 1 FROM clickstream_events LIMIT 1"))
        inject_faults(proxy, lambda: re.search(warning, consumer.output))
        assert traffic.wait() == 0
        wait_until_read(query, LOAD_EVENTS)
        assert consumer.is_running
    assert "Traceback" not in consumer.output
    assert oracle.check(environment)["rows"] == LOAD_EVENTS
    assert run_script("summary.py", "--verify").returncode == 0


@pytest.mark.long
@pytest.mark.local_search
def test_no_fault_of_a_connection_to_opensearch_loses_or_doubles_a_document(
    environment: dict[str, str], search: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """A test of outages checks the warning: short faults are retried without one."""
    with fault_proxy("opensearch", search) as proxy:
        consumer = start_script("consumer.py", **{**proxy.environment, **SMALL_BATCHES})
        traffic = start_script("producer.py", *LOAD)
        consumer.wait_for_output("backfilling the search index")
        inject_faults(proxy, lambda: True)
        assert traffic.wait() == 0
        wait_until_read(query, LOAD_EVENTS)
        assert wait_until_equal(environment, search) > LOAD_EVENTS
        assert consumer.is_running
    assert "Traceback" not in consumer.output


@pytest.mark.long
@pytest.mark.parametrize("answer", KAFKA_ANSWERS)
def test_a_partition_that_answers_of_kafka_lack_is_read_when_they_have_it_again(
    answer: str, environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """The answers lack it while a consumer works, and while it acquires its partitions again."""
    events = [[event(f"{number} {n}", n) for n in range(150)] for number in range(3)]

    def send_third(number: int) -> None:
        for partition, some in enumerate(events):
            send(environment, some[50 * number : 50 * (number + 1)], partition)

    with kafka_fault_proxy(environment) as proxy:
        consumer = start_script("consumer.py", **proxy.environment)
        send_third(0)
        wait_until_read(query, 150)
        for number, disturb in ((1, "SELECT"), (2, DISCONNECT_CONSUMERS)):
            proxy.lacking = {answer: 0}
            query(disturb)
            send_third(number)
            pause(6)  # longer than the age of the client's metadata
            proxy.lacking = {}
            wait_until_read(query, 150 * (number + 1))
        assert consumer.is_running
    assert "Traceback" not in consumer.output
    assert oracle.check(environment)["rows"] == 450
