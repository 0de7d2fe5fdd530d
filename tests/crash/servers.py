"""The servers of a worker, which runs one history after another on them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clickstream.local import server, stack
from clickstream.local.temporary import temporary_stack
from tests.services.own_server import OwnServer
from tests.services.scripts import PROJECT

KAFKA_PROGRAM = PROJECT / "tests" / "servers" / "kafka.sh"


class Servers:
    """A local PostgreSQL and search server, and a local broker or a real Kafka.

    kafka_port: of the Kafka that tests/servers/kafka.sh has started; None for the local broker,
    which loses its log at a restart.
    """

    def __init__(self, folder: Path, environment: dict[str, str], kafka_port: int | None) -> None:
        self.environment = environment
        self._folder = folder
        self._kafka_port = kafka_port

    @property
    def keeps_log(self) -> bool:
        """True if the broker keeps its log at a restart."""
        return self._kafka_port is not None

    def kill_and_start(self, name: str) -> None:
        """Kill all processes of a local server at once, and start it again."""
        own = OwnServer(self._folder, name)
        own.kill()
        own.start()

    def stop_and_start(self, name: str) -> None:
        """Stop a local server cleanly, and start it again."""
        (status,) = (each for each in stack.status(self._folder) if each.server.name == name)
        assert status.process is not None
        server.stop(status.server, status.process)
        OwnServer(self._folder, name).start()

    def kill_and_start_kafka(self) -> None:
        """Kill the real Kafka, and start it again."""
        variables = {**os.environ, "KAFKA_PORT": str(self._kafka_port)}
        for verb in ("kill", "start"):
            subprocess.run([KAFKA_PROGRAM, verb], env=variables, capture_output=True, check=True)


@contextmanager
def running_servers(folder: Path, kafka_port: int | None = None) -> Iterator[Servers]:
    """Yield running servers, which are deleted at the end."""
    names = [name for name in stack.SERVER_NAMES if name != "kafka" or kafka_port is None]
    with temporary_stack(folder, names) as environment:
        if kafka_port is not None:
            environment["KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{kafka_port}"
        yield Servers(folder.resolve(), environment, kafka_port)
