"""The servers of a worker, which runs one history after another on them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clickstream.local import server, stack
from clickstream.local.ports import HOST, free_port
from clickstream.local.temporary import temporary_stack
from tests.services.own_server import OwnServer
from tests.services.scripts import PROJECT

KAFKA_PROGRAM = PROJECT / "tests" / "servers" / "kafka.sh"
# See short_sessions.py.
KAFKA_PROPERTIES = "group.min.session.timeout.ms=1000\n"


class RealKafka:
    """A real Kafka, which keeps its log at a restart. folder: for its properties."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        properties = folder / "kafka.properties"
        properties.write_text(KAFKA_PROPERTIES)
        self.address = f"{HOST}:{port}"
        self._variables = {
            **os.environ,
            "KAFKA_PORT": str(port),
            "KAFKA_EXTRA": str(properties),
            "KAFKA_HEAP": "512m",
        }

    def ask(self, verb: str) -> None:
        """Run the script that controls it, with one of its verbs."""
        subprocess.run(
            [KAFKA_PROGRAM, verb], env=self._variables, stdout=subprocess.DEVNULL, check=True
        )


class Servers:
    """A local PostgreSQL and search server, and a local broker or a real Kafka.

    real_kafka: None for the local broker, which loses its log at a restart.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str], real_kafka: RealKafka | None
    ) -> None:
        self.environment = environment
        self.real_kafka = real_kafka
        self._folder = folder

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


@contextmanager
def running_servers(folder: Path, *, real_kafka: bool = False) -> Iterator[Servers]:
    """Yield running servers, which are deleted at the end. folder: does not exist yet."""
    names = [name for name in stack.SERVER_NAMES if name != "kafka" or not real_kafka]
    with ExitStack() as resources:
        environment = resources.enter_context(temporary_stack(folder, names))
        kafka = None
        if real_kafka:
            kafka = RealKafka(folder.parent)
            resources.callback(kafka.ask, "wipe")
            kafka.ask("start")
            environment |= {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.address,
                "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            }
        yield Servers(folder.resolve(), environment, kafka)
