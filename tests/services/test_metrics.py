"""`consumer.py --metrics-port`: the metrics of Prometheus, and the health of the consumer."""

import socket
from typing import NamedTuple

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from clickstream.local.ports import free_port
from tests.services.databases import Query
from tests.services.own_server import OwnServer
from tests.services.records import event, send, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

NAMES = {
    *("clickstream_records", "clickstream_rejected", "clickstream_duplicates", "clickstream_late"),
    *("clickstream_lag_records", "clickstream_lag_seconds", "clickstream_watermark_lag_seconds"),
    *("clickstream_open_sessions", "clickstream_search_backlog", "clickstream_transaction_seconds"),
    "clickstream_removed",
}
LABELS = {"partition", "reason", "le"}
UNREACHABLE = "127.0.0.1:1"


class Reply(NamedTuple):
    status: int
    text: str


@pytest.fixture
def port() -> int:
    """A free TCP port, which is not one that the system gives to connections meanwhile."""
    return free_port()


def get(port: int, path: str) -> Reply | None:
    """Return the reply of a consumer; None if it does not listen."""
    try:
        reply = urllib3.request("GET", f"http://127.0.0.1:{port}{path}", timeout=10, retries=False)
    except urllib3.exceptions.HTTPError:
        return None
    return Reply(reply.status, reply.data.decode())


def status(port: int, path: str) -> int | None:
    reply = get(port, path)
    return reply.status if reply else None


def samples(port: int) -> dict[str, float]:
    """Return the value of each sample, by its name and the value of its label."""
    reply = get(port, "/metrics")
    assert reply is not None
    assert reply.status == 200
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_metrics_count_the_records_by_outcome_and_show_the_lag(
    environment: dict[str, str],
    start_script: StartScript,
    query: Query,
    port: int,
) -> None:
    start_script("consumer.py", "--metrics-port", str(port))
    once = event("a", 100, event_id="once")
    send(environment, [event("a", 0), once, once, b"{", b"[]", event("a", 1)])
    send(environment, [event("b", 0)], partition=2)
    wait_until_read(query, 7)
    expected = {
        "clickstream_records_total 0": 6,
        "clickstream_records_total 2": 1,
        "clickstream_duplicates_total": 1,
        "clickstream_late_total": 1,
        "clickstream_rejected_total not_json": 1,
        "clickstream_rejected_total not_an_object": 1,
        "clickstream_open_sessions": 2,
        **{f"clickstream_lag_records {n}": 0 for n in range(3)},
        **{f"clickstream_lag_seconds {n}": 0 for n in range(3)},
        "clickstream_search_backlog": 0,
    }

    def all_found() -> dict[str, float]:
        found = samples(port)
        assert {name: found.get(name) for name in expected} == expected
        return found

    found = eventually(all_found)
    assert found["clickstream_transaction_seconds_count"] >= 1
    assert found["clickstream_watermark_lag_seconds"] > 3600


def test_the_metrics_have_exactly_the_names_and_labels_that_are_documented(
    environment: dict[str, str], start_script: StartScript, query: Query, port: int
) -> None:
    start_script("consumer.py", "--metrics-port", str(port))
    send(environment, [event("a", 0), b"{"])
    wait_until_read(query, 2)
    reply = eventually(lambda: get(port, "/metrics"))
    families = list(text_string_to_metric_families(reply.text))
    assert {family.name for family in families} == NAMES
    used = {label for family in families for sample in family.samples for label in sample.labels}
    assert used <= LABELS


@pytest.mark.long
def test_a_consumer_is_ready_as_a_member_of_its_group_and_not_while_postgresql_is_down(
    environment: dict[str, str], own_postgres: OwnServer, start_script: StartScript, port: int
) -> None:
    consumer = start_script("consumer.py", "--metrics-port", str(port), **own_postgres.environment)
    eventually(lambda: status(port, "/livez") == 200)
    eventually(lambda: status(port, "/readyz") == 200)
    own_postgres.stop()
    send(environment, [event("a", 0)])
    eventually(lambda: status(port, "/readyz") == 503)
    assert status(port, "/livez") == 200
    own_postgres.start()
    eventually(lambda: status(port, "/readyz") == 200)
    assert consumer.is_running
    assert status(port, "/nothing") == 404


def test_a_consumer_that_cannot_reach_kafka_is_alive_and_not_ready(
    start_script: StartScript, port: int
) -> None:
    consumer = start_script(
        "consumer.py", "--metrics-port", str(port), KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE
    )
    consumer.wait_for_output("trying again")
    assert status(port, "/livez") == 200
    assert status(port, "/readyz") == 503


def test_a_port_that_is_in_use_is_one_sentence(run_script: RunScript) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        number = taken.getsockname()[1]
        done = run_script("consumer.py", "--metrics-port", str(number))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: port {number} cannot be used")


@pytest.mark.parametrize("number", ["0", "65536", "-1", "http", ""])
def test_a_port_out_of_range_is_misuse(number: str, run_script: RunScript) -> None:
    done = run_script("consumer.py", f"--metrics-port={number}")
    assert done.returncode == 2
    assert "is not a port from 1 to 65535" in done.stderr
