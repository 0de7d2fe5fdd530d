"""What service tests use beside the fixtures: waiting, scripts as processes, private servers."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from signal import Signals
from typing import TypeVar

from clickstream.local import processes, stack
from clickstream.settings import Settings

PROJECT = Path(__file__).parents[2]
SETTING_NAMES = frozenset(item.name.upper() for item in fields(Settings))

T = TypeVar("T")


def eventually(check: Callable[[], T], seconds: float = 30.0) -> T:
    """Call `check` until its result is true and return it; fail after `seconds`.

    An AssertionError inside `check` counts as not yet.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            last: object = check()
            if last:
                return last  # type: ignore[return-value]
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s; last: {last!r}")
        time.sleep(0.05)


def command(name: str, *arguments: str) -> list[str]:
    """The command line of a script ("producer.py"); "clickstream" is `python -m clickstream`."""
    program = [str(PROJECT / name)] if name.endswith(".py") else ["-m", name]
    return [sys.executable, *program, *arguments]


def plain_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a script: these settings and none of the user's."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTING_NAMES}
    return {**kept, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **settings}


class Script:
    """A script that runs in the background; stdout and stderr go to one file."""

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
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send_signal(self, number: Signals) -> None:
        """Send a signal to the script itself."""
        self._process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end and return its exit status; fail, with its output, after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.output}") from None

    def wait_for_output(self, text: str, seconds: float = 30.0) -> None:
        """Wait until it has printed this text; fail, with its output, at its end or too late."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            if not self.is_running or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} was not printed:\n{self.output}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Make sure that it is gone (SIGKILL, also where it is stopped by SIGSTOP)."""
        self._process.kill()
        self._process.wait()


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
