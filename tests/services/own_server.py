"""A server that belongs to one test, which may stop and start it."""

from pathlib import Path

from clickstream.local import processes, stack


class OwnServer:
    """A server of one test alone, which may be stopped and started at will, always on its port."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.environment = stack.environment(folder)

    def start(self) -> None:
        """Start it again and wait until it answers."""
        stack.up(self._folder, [self._name])
        assert stack.environment(self._folder) == self.environment, "its port was taken"

    def stop(self) -> None:
        """Stop it cleanly and wait until it is gone (PostgreSQL: fast shutdown)."""
        stack.down(self._folder)

    def kill(self) -> None:
        """Kill it at once, with all its processes, as a crash of the machine would."""
        (status,) = (each for each in stack.status(self._folder) if each.server.name == self._name)
        assert status.process is not None
        processes.stop(status.process)
