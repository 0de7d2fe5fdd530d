"""The project's scripts as processes, as the fixtures `run_script` and `start_script` run them."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from typing import Protocol

from clickstream.settings import setting_fields
from tests.services.waiting import DEADLINE_SECONDS

PROJECT = Path(__file__).parents[2]
SETTING_NAMES = frozenset(item.name.upper() for item in setting_fields())


def command(name: str, *arguments: str) -> list[str]:
    """Return the command line of a script; "clickstream" stands for `python -m clickstream`."""
    program = [str(PROJECT / name)] if name.endswith(".py") else ["-m", name]
    return [sys.executable, *program, *arguments]


def plain_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a script: these settings and none of the user's.

    The virtual environment is activated, so that messages name commands as `python ...`. The size
    of a terminal is that of the script's: pytest-xdist puts another one into the environment.
    Python keeps what it has compiled: a script would take half as long again to start.
    """
    dropped = {*SETTING_NAMES, "COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }


class Script:
    """A script in the background; its stdout and stderr go to one file."""

    def __init__(self, line: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                line,
                env=plain_environment(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything the script has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        """True until the script has ended."""
        return self._process.poll() is None

    def send_signal(self, number: Signals) -> None:
        """Send a signal to the script."""
        self._process.send_signal(number)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for the end and return the exit status; fail with the output after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.output}") from None

    def wait_for_output(self, text: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until the script has printed a text; fail if it ends before, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            if not self.is_running or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} was not printed:\n{self.output}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Send SIGKILL, which also ends a script that SIGSTOP has stopped, and wait for the end."""
        self._process.kill()
        self._process.wait()


class RunScript(Protocol):
    """The fixture `run_script`: runs a script to its end."""

    def __call__(
        self, name: str, *arguments: str, stdin: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]: ...


class StartScript(Protocol):
    """The fixture `start_script`: starts a script in the background."""

    def __call__(self, name: str, *arguments: str, **settings: str) -> Script: ...
