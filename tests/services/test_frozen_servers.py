"""Servers that keep their connections open and do not answer, as after SIGSTOP."""

from signal import SIGTERM
from time import monotonic

import pytest
import urllib3

from clickstream.local import kafka_server
from clickstream.local.ports import free_port
from tests.services.own_server import OwnServer
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

# A stop takes about 4 s, and one that waits for an answer of the server 30 s or more.
LONGEST_STOP_SECONDS = 25.0
LAG = "clickstream_lag_records{"


def metrics(port: int) -> str:
    """Return the page of metrics of a consumer; "" before it listens."""
    try:
        reply = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics", retries=False)
    except urllib3.exceptions.HTTPError:
        return ""
    return reply.data.decode()


@pytest.mark.long
@pytest.mark.parametrize(
    ("fixture", "name"), [("own_postgres", "PostgreSQL"), ("own_broker", "Kafka")]
)
def test_a_frozen_server_is_named_within_seconds_and_does_not_delay_a_stop(
    fixture: str,
    name: str,
    request: pytest.FixtureRequest,
    environment: dict[str, str],
    run_script: RunScript,
    start_script: StartScript,
) -> None:
    """The consumer has nothing to store: it notices by its own requests.

    Without Kafka the lag is unknown, so the metrics do not show an old one.
    """
    port = free_port()
    server: OwnServer = request.getfixturevalue(fixture)
    settings = {**environment, **server.environment}
    assert run_script("create_schema.py", **settings).returncode == 0
    consumer = start_script("consumer.py", "--metrics-port", str(port), **settings)
    eventually(lambda: LAG in metrics(port))
    with server.frozen():
        consumer.wait_for_output(f"{name} at 127.0.0.1")
        assert "has not answered for" in consumer.output
        eventually(lambda: name == "PostgreSQL" or LAG not in metrics(port))
        consumer.send_signal(SIGTERM)
        assert consumer.wait(LONGEST_STOP_SECONDS) == 0
    assert "Traceback" not in consumer.output
    assert name == "Kafka" or "; stopping\n" in consumer.output  # and not "trying again in 0.2 s"


def test_the_local_broker_is_asked_with_a_time_limit(own_broker: OwnServer) -> None:
    port = int(own_broker.environment["KAFKA_BOOTSTRAP_SERVERS"].rpartition(":")[2])
    server = kafka_server.broker(own_broker.folder)
    process = own_broker.process
    assert server.answers(process, port)
    with own_broker.frozen():
        began = monotonic()
        assert not server.answers(process, port)
        assert monotonic() < began + 15 * kafka_server.PROBE_SECONDS
