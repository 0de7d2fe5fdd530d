"""A server that belongs to one test, which may stop and start it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from clickstream.local import processes, stack
from clickstream.local.ports import is_free
from clickstream.local.processes import Process
from tests.services.waiting import eventually


class OwnServer:
    """A local server of one test; it keeps its port when it is stopped and started."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._name = name
        self.environment = stack.environment(folder)

    def start(self) -> None:
        """Start the server again and wait until it answers.

        On a busy machine a server that was killed keeps its port for a while.
        """
        eventually(self._can_start)
        stack.up(self.folder, [self._name])
        assert stack.environment(self.folder) == self.environment, "its port was taken"

    def stop(self) -> None:
        """Stop the server cleanly (PostgreSQL: fast shutdown) and wait until it has ended."""
        stack.down(self.folder)

    def kill(self) -> None:
        """Kill all processes of the server at once, as a crash of the machine would."""
        processes.stop(self.process)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes of the server by SIGSTOP in this context: connections stay open."""
        parent = psutil.Process(self.process.pid)
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                process.resume()

    @property
    def process(self) -> Process:
        """The running server."""
        process = self._status.process
        assert process is not None
        return process

    def _can_start(self) -> bool:
        """Return True if its port is free, or if it runs."""
        status = self._status
        assert status.port is not None
        return is_free(status.port) or status.condition is stack.Condition.RUNNING

    @property
    def _status(self) -> stack.Status:
        (status,) = (each for each in stack.status(self.folder) if each.server.name == self._name)
        return status
