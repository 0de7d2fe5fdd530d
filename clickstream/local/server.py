"""A server of the stack, and how any of them is started and stopped."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from clickstream.errors import UserError
from clickstream.local import processes
from clickstream.local.processes import Account, Process

START_SECONDS = 60.0  # long enough for PostgreSQL to recover from a crash
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a folder of its own.

    name: one word for files and tables; title: what it is, for people.
    folder: everything of it lies here; without the folder it is empty.
    stop_signals: how to stop it, each signal with the seconds that it is given.
    prepare: creates what must be there before a start, and clears what a crash left.
    command: the command line that serves on 127.0.0.1 and the given port.
    answers: whether the process serves requests on the port.
    account: the user it runs as; None is the one who starts it.
    """

    name: str
    title: str
    folder: Path
    stop_signals: tuple[tuple[Signals, float], ...]
    prepare: Callable[[], None]
    command: Callable[[int], list[str]]
    answers: Callable[[Process, int], bool]
    account: Account | None = None

    @property
    def log(self) -> Path:
        """The file that its output is added to."""
        return self.folder / "log"


def begin(server: Server, port: int) -> Process:
    """Prepare and start a server without waiting for it."""
    server.prepare()
    return processes.start(
        server.command(port), log=server.log, folder=server.folder, account=server.account
    )


def wait_until_ready(
    server: Server, process: Process, port: int, seconds: float = START_SECONDS
) -> None:
    """Return when the server answers. Raises UserError when it ended or takes too long."""
    deadline = time.monotonic() + seconds
    while not server.answers(process, port):
        if not processes.is_running(process):
            raise UserError(
                f"{server.title} ended at its start: {last_words(server.log)} "
                f"(its log is {server.log})"
            )
        if time.monotonic() > deadline:
            raise UserError(
                f"{server.title} does not answer for {seconds:.0f} s (its log is {server.log})"
            )
        time.sleep(_POLL_SECONDS)


def stop(server: Server, process: Process) -> None:
    """Stop a server cleanly where it listens, and for certain where not."""
    processes.stop(process, server.stop_signals)


def last_words(log: Path) -> str:
    """The last line of a log that says anything."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
