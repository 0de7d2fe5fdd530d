"""A server of the stack: its description, start and stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from clickstream.errors import UserError
from clickstream.local import processes
from clickstream.local.processes import Account, Process

START_SECONDS = 60.0  # long enough for PostgreSQL to recover from a crash
MAX_LOG_BYTES = 10 << 20
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Server:
    """Description of a server of the stack.

    name: one word, for the state file and the command line; title: name and product, for people.
    folder: the folder of its data and its log; deleting it empties the server.
    stop_signals: the signals that stop it, each with the seconds to wait after it.
    prepare: creates what a start needs, and cleans up after a crash.
    command: returns the command line that serves on 127.0.0.1 and the given port.
    answers: returns True if the process serves requests on the port.
    account: the user that it runs as; None for the user who starts it.
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
        """The file that its output is appended to."""
        return self.folder / "log"


def begin(server: Server, port: int) -> Process:
    """Prepare and start a server, without waiting until it answers.

    Its log begins again if it has MAX_LOG_BYTES; the one before it is kept.
    """
    server.prepare()
    if server.log.exists() and server.log.stat().st_size >= MAX_LOG_BYTES:
        server.log.replace(server.log.with_name(f"{server.log.name}.1"))
    return processes.start(
        server.command(port), log=server.log, folder=server.folder, account=server.account
    )


def wait_until_ready(
    server: Server, process: Process, port: int, seconds: float = START_SECONDS
) -> None:
    """Wait until the server answers. Raises UserError if it ended or after `seconds`."""
    deadline = time.monotonic() + seconds
    while not server.answers(process, port):
        if not processes.is_running(process):
            raise UserError(
                f"{server.title} ended during its start: {last_line(server.log)} "
                f"(its log is {server.log})"
            )
        if time.monotonic() > deadline:
            raise UserError(
                f"{server.title} has not answered for {seconds:.0f} s (its log is {server.log})"
            )
        time.sleep(_POLL_SECONDS)


def stop(server: Server, process: Process) -> None:
    """Stop a server by its stop signals, and kill it if they do not help."""
    processes.stop(process, server.stop_signals)


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
