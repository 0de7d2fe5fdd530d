"""The scripts of the project, run as processes with default settings."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil

from bench.servers import environment
from clickstream.errors import UserError
from clickstream.settings import Settings

PROJECT = Path(__file__).parents[1]
DEFAULTS = Path(__file__).with_name("default.env")
# The consumer logs this directly before it reads the first record.
READING = "reading partitions"
START_SECONDS = 60.0


class Script:
    """A script that runs; its log is collected.

    folder: the checkout that it belongs to.
    """

    def __init__(self, folder: Path, settings: Settings, *arguments: str) -> None:
        self.lines: list[str] = []
        self._reading = Event()
        self._process = subprocess.Popen(
            [*_with_benchmark(), sys.executable, *arguments, "--env-file", DEFAULTS],
            cwd=folder,
            env=environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.process = psutil.Process(self._process.pid)
        self._collector = Thread(target=self._collect, daemon=True)
        self._collector.start()

    def _collect(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line)
            if READING in line:
                self._reading.set()
        self._reading.set()

    def wait_until_reading(self) -> None:
        """Wait until the consumer begins to read. Raises UserError if it ends before."""
        if not self._reading.wait(START_SECONDS):
            raise UserError("the consumer did not begin to read")
        self.check()

    def size_mib(self) -> float:
        """Return the resident size of the script and its children, MiB; 0 if it has ended."""
        with suppress(psutil.NoSuchProcess):
            processes = (self.process, *self.process.children(recursive=True))
            return sum(each.memory_info().rss for each in processes) / 2**20
        return 0.0

    def check(self) -> None:
        """Raise UserError if the script has failed."""
        if self._process.poll():
            self._collector.join()
            raise UserError(f"the script failed: {''.join(self.lines[-5:])}")

    def wait(self) -> None:
        """Wait for the end of the script. Raises UserError if it fails."""
        self._process.wait()
        self.check()

    def stop(self) -> None:
        """Ask the script to stop, and wait for its end. Raises UserError if it fails."""
        self._process.terminate()
        self.wait()

    def kill(self) -> None:
        """End the script at once, if it still runs."""
        self._process.kill()
        self._process.wait()


def _with_benchmark() -> Sequence[str]:
    """Return what precedes a command so that SIGTERM ends it if SIGKILL ends the benchmark.

    Only Linux can do that.
    """
    found = shutil.which("setpriv") if sys.platform == "linux" else None
    return (found, "--pdeathsig", "TERM", "--") if found else ()


@contextmanager
def running(folder: Path, settings: Settings, *arguments: str) -> Iterator[Script]:
    """Run a script; it does not outlive the block."""
    script = Script(folder, settings, *arguments)
    try:
        yield script
    finally:
        script.kill()


def run(folder: Path, settings: Settings, *arguments: str) -> Script:
    """Run a script to its end. Raises UserError if it fails."""
    with running(folder, settings, *arguments) as script:
        script.wait()
    return script


def verify(settings: Settings, folder: Path = PROJECT) -> None:
    """Recompute the sessions from the events. Raises UserError if there is a difference."""
    run(folder, settings, "summary.py", "--verify")
