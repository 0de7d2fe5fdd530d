"""A server that belongs to one test, which may stop and start it."""

from pathlib import Path

from clickstream.local import processes, stack


class OwnServer:
    """A local server of one test; it keeps its port when it is stopped and started."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.environment = stack.environment(folder)

    def start(self) -> None:
        """Start the server again and wait until it answers."""
        stack.up(self._folder, [self._name])
        assert stack.environment(self._folder) == self.environment, "its port was taken"

    def stop(self) -> None:
        """Stop the server cleanly (PostgreSQL: fast shutdown) and wait until it has ended."""
        stack.down(self._folder)

    def kill(self) -> None:
        """Kill all processes of the server at once, as a crash of the machine would."""
        (status,) = (each for each in stack.status(self._folder) if each.server.name == self._name)
        assert status.process is not None
        processes.stop(status.process)
