"""The first minutes with the project: no server runs yet, servers stop and start again."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGINT

import pytest

from clickstream.local import stack
from clickstream.local.ports import free_port
from tests.services.clone import Clone
from tests.services.scripts import Script
from tests.services.waiting import eventually

# `make restarts` sets more.
RESTARTS = int(os.environ.get("RESTARTS", "1"))


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    yield Clone(tmp_path)
    stack.remove(tmp_path / ".stack")


def unreachable_servers() -> str:
    """Return a .env whose servers do not run."""
    return (
        f"KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{free_port()}\n"
        f"POSTGRES_HOST=127.0.0.1\nPOSTGRES_PORT={free_port()}\n"
        f"OPENSEARCH_HOST=127.0.0.1\nOPENSEARCH_PORT={free_port()}\n"
    )


def test_a_consumer_without_servers_says_what_helps_and_ends_at_the_first_ctrl_c(
    clone: Clone,
) -> None:
    (clone.folder / ".env").write_text(unreachable_servers())
    consumer = clone.start("consumer.py")
    try:
        consumer.wait_for_output("python -m clickstream stack up")
        assert "cannot reach Kafka at 127.0.0.1" in consumer.output
        assert "(Connection refused)" in consumer.output
        consumer.send_signal(SIGINT)
        assert consumer.wait() == 0
        assert "Traceback" not in consumer.output
    finally:
        consumer.kill()


# == Restarts of the servers ====================================================================


@pytest.mark.long
def test_a_running_consumer_and_producer_survive_restarts_of_the_servers(clone: Clone) -> None:
    clone.done("up")
    with ExitStack() as running:
        consumer = start(clone, running, "consumer.py")
        producer = start(clone, running, "producer.py", "--rate", "50")
        wait_for_new_events(clone, consumer, producer)
        for _ in range(RESTARTS):
            clone.done("down")
            clone.done("up")
            wait_for_new_events(clone, consumer, producer)
        producer.send_signal(SIGINT)
        assert producer.wait() == 0, producer.output  # every event was acknowledged
        consumer.send_signal(SIGINT)
        assert consumer.wait() == 0, consumer.output
    assert "Traceback" not in consumer.output + producer.output
    verified = clone.start("summary.py", "--verify")
    assert verified.wait() == 0, verified.output


def start(clone: Clone, running: ExitStack, name: str, *arguments: str) -> Script:
    script = clone.start(name, *arguments)
    running.callback(script.kill)
    return script


def wait_for_new_events(clone: Clone, *scripts: Script) -> None:
    """Wait until the consumer stores events that the producer sent just now."""
    began = time.time()

    def has_new_event() -> bool:
        for script in scripts:
            assert script.is_running, script.output
        return clone.latest_event() > began

    eventually(has_new_event)
