"""The consumers of a history, each the real script in a process of its own."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from clickstream.fail_points import FOLDER_VARIABLE
from tests.crash.short_sessions import HARNESS_VARIABLE
from tests.services.scripts import PROJECT, Script

PROGRAM = PROJECT / "tests" / "crash" / "short_sessions.py"
STOP_SECONDS = 120.0
STUCK = "is stuck rebalancing"


class HistoryError(Exception):
    """Raised when a history fails: a consumer ended by itself, or nothing progresses."""


class Consumers:
    """Consumers that run, and those that have ended.

    environment: their settings. folder: for their output and for the files of the fail points.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.points = folder / "fail-points"
        self.points.mkdir()
        self._folder = folder
        self._environment = {
            **environment,
            FOLDER_VARIABLE: str(self.points),
            HARNESS_VARIABLE: str(os.getpid()),
        }
        self._running: list[Script] = []
        self._ended: list[Script] = []

    def __len__(self) -> int:
        return len(self._running)

    def start(self, *arguments: str, **settings: str) -> Script:
        """Start a consumer. settings: replace those of all consumers."""
        line = [sys.executable, str(PROGRAM), *arguments]
        consumer = Script(line, {**self._environment, **settings}, self._folder)
        self._running.append(consumer)
        return consumer

    def choose(self, number: int) -> Script:
        """Return a consumer that runs; its number is counted modulo all of them."""
        return self._running[number % len(self._running)]

    def kill(self, consumer: Script) -> None:
        """Kill a consumer."""
        self._end(consumer)
        consumer.kill()

    def stop(self, consumer: Script) -> None:
        """Stop a consumer by SIGTERM. Raises HistoryError if it fails or takes too long."""
        consumer.send_signal(SIGTERM)
        self.finish(consumer)

    def finish(self, consumer: Script, seconds: float = STOP_SECONDS) -> None:
        """Wait until a consumer ends by itself. Raises HistoryError if it fails or does not end."""
        self._end(consumer)
        try:
            status = consumer.wait(seconds)
        except AssertionError:
            raise HistoryError(f"consumer {consumer.pid} did not end in {seconds:g} s") from None
        # A script that has just started does not handle SIGTERM yet.
        if status not in {0, -SIGTERM}:
            raise HistoryError(f"consumer {consumer.pid} ended with exit status {status}")

    def pause(self, consumer: Script) -> None:
        """Stop a consumer's process without ending it."""
        consumer.send_signal(SIGSTOP)

    def resume(self, consumer: Script) -> None:
        """Continue a paused consumer."""
        consumer.send_signal(SIGCONT)

    def leave_stuck_group(self, wait_for_killed: Callable[[], None]) -> int:
        """Kill all consumers and start as many in another group, if one says that theirs is stuck.

        Only the local broker keeps a member that was killed during its join. The consumer's log
        advises to use another group. wait_for_killed: called before the others start. Return the
        number of consumers that were killed.
        """
        is_stuck = any(STUCK in consumer.output for consumer in self._running)
        if not is_stuck or not all(consumer.is_running for consumer in self._running):
            return 0
        stuck = list(self._running)
        for consumer in stuck:
            self.kill(consumer)
        wait_for_killed()
        self._environment["KAFKA_GROUP_ID"] += "-next"
        for _ in stuck:
            self.start()
        return len(stuck)

    def remove_killed(self) -> Script | None:
        """Return a consumer that a fail point has killed; from now on it counts as ended.

        Raises HistoryError if a consumer has ended by itself.
        """
        for consumer in self._running:
            if not consumer.is_running:
                if consumer.wait() != -SIGKILL:
                    raise _ended_by_itself(consumer)
                self._end(consumer)
                return consumer
        return None

    def check(self) -> None:
        """Raise HistoryError if a consumer has ended by itself."""
        for consumer in self._running:
            if not consumer.is_running:
                raise _ended_by_itself(consumer)

    def tracebacks(self) -> Iterator[str]:
        """Yield a sentence for each consumer that has printed a traceback."""
        for consumer in (*self._running, *self._ended):
            if "Traceback" in consumer.output:
                yield f"consumer {consumer.pid} printed a traceback"

    def close(self) -> None:
        """Kill all that still run, also those that did not end when they had to."""
        for consumer in (*self._running, *self._ended):
            consumer.kill()

    def _end(self, consumer: Script) -> None:
        self._running.remove(consumer)
        self._ended.append(consumer)


def _ended_by_itself(consumer: Script) -> HistoryError:
    return HistoryError(f"consumer {consumer.pid} ended by itself")
