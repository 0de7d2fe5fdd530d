"""Running one history: traffic, consumers that crash, and the checks after the last drain."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
from kafka.errors import KafkaError
from opensearchpy.exceptions import OpenSearchException

from clickstream.errors import UserError
from clickstream.fail_points import FailPoint
from tests.crash.checks import Checks
from tests.crash.consumers import Consumers, HistoryError
from tests.crash.namespace import Namespace
from tests.crash.repaired import Record, make_repaired_events
from tests.crash.schedule import Action, Kind, Schedule
from tests.crash.servers import Servers
from tests.crash.tables import Tables
from tests.crash.traffic import send, start_producer
from tests.services.scripts import Script
from tests.services.waiting import eventually

# Nothing takes longer, even if a group is stuck, which its consumers say after 45 s.
PATIENCE_SECONDS = 240.0
# The local broker may keep members that left during a join. The consumer's log says so, and advises
# to use another group.
NEXT_GROUP = "crash-drain"
# All errors that a history may raise without a defect of this test program.
FAILURES = (
    *(HistoryError, AssertionError, UserError, OSError, subprocess.SubprocessError),
    *(KafkaError, psycopg2.Error, OpenSearchException),
)


@dataclass(slots=True)
class Outcome:
    """The result of a history. kills: consumers killed, by fail point or "at a random time"."""

    schedule: Schedule
    folder: Path
    records: int = 0
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the result as lines to print: one line, or all details if the history failed."""
        verdict = f"{len(self.differences)} DIFFERENCES" if self.differences else "exact"
        kills = self.kills.total()
        first = (
            f"seed {self.schedule.seed}: {self.records:,} records, {kills} consumers killed, "
            f"{self.seconds:.1f} s: {verdict}"
        )
        if not self.differences:
            return [first]
        rest = [*self.schedule.lines(), *self.differences[:20], f"logs: {self.folder}"]
        return [first, *(f"    {line}" for line in rest)]


def run_history(schedule: Schedule, servers: Servers, folder: Path) -> Outcome:
    """Run a history on these servers, and return its result.

    folder: an empty folder for logs and truth files.
    """
    outcome = Outcome(schedule, folder)
    started = time.monotonic()
    with ExitStack() as resources:
        try:
            History(outcome, servers, resources).run()
        except FAILURES as error:
            outcome.differences.append(f"{type(error).__name__}: {error}")
    outcome.seconds = time.monotonic() - started
    return outcome


class History:
    """A history that runs, with its own topic, database and indexes."""

    def __init__(self, outcome: Outcome, servers: Servers, resources: ExitStack) -> None:
        self._schedule = outcome.schedule
        self._outcome = outcome
        self._servers = servers
        self._resources = resources
        self._repaired = make_repaired_events(
            self._schedule.seed, self._schedule.partitions, random_keys=self._schedule.random_keys
        )
        self._namespace = Namespace(self._schedule, servers.environment, outcome.folder)
        self._tables = resources.enter_context(closing(Tables(self._namespace.settings)))

    def run(self) -> None:
        """Run it, and add each difference to the outcome."""
        environment, folder = self._namespace.environment, self._outcome.folder
        self._namespace.create()
        consumers = Consumers(environment, folder)
        self._resources.callback(consumers.close)
        producer = start_producer(self._schedule, environment, folder)
        self._resources.callback(producer.kill)
        for _ in range(self._schedule.consumers):
            consumers.start()
        chunks = _split(self._repaired.records, len(self._schedule.actions) + 1)
        for action, chunk in zip(self._schedule.actions, chunks, strict=False):
            self._wait(consumers, partial(self._has_stored, consumers, action.records))
            time.sleep(action.seconds)  # so that it comes at any time, not at the end of a batch
            self._disturb(action, consumers, partial(self._send, chunk))
        self._send(chunks[-1])
        assert producer.wait(PATIENCE_SECONDS) == 0, producer.output
        self._end(consumers)
        checks = Checks(environment, folder, self._tables, self._repaired)
        self._outcome.records = checks.records
        self._outcome.differences += [*consumers.tracebacks(), *checks.differences()]
        if not self._outcome.differences:
            self._tables.close()
            self._namespace.delete()

    # == Disturbances ===========================================================================

    def _disturb(self, action: Action, consumers: Consumers, send: Callable[[], None]) -> None:
        """Do what an action says; afterwards at least one consumer runs.

        send: sends records, so that there is something to store at a fail point.
        """
        match action.kind:
            case Kind.KILL_AT:
                assert action.point is not None
                self._kill_at(action.point, consumers, send)
                return
            case Kind.KILL:
                consumers.kill(consumers.choose(action.consumer))
                self._outcome.kills["at a random time"] += 1
                consumers.start()
            case Kind.KILL_ALL:
                for _ in range(killed := len(consumers)):
                    consumers.kill(consumers.choose(0))
                self._outcome.kills["at a random time"] += killed
                for _ in range(killed):
                    consumers.start()
            case Kind.PAUSE:
                self._pause(consumers.choose(action.consumer), consumers)
            case Kind.ADD:
                consumers.start()
            case Kind.REMOVE:
                removed = consumers.choose(action.consumer)
                if len(consumers) == 1:
                    consumers.start()
                consumers.stop(removed)
            case _:
                self._restart_server(action.kind)
        send()

    def _kill_at(self, point: FailPoint, consumers: Consumers, send: Callable[[], None]) -> None:
        """Kill the consumer that next reaches a point, and start another one."""
        (consumers.points / point).touch()
        if point is FailPoint.ACQUIRED:
            consumers.start()
        send()
        self._wait(consumers, consumers.remove_killed)
        self._outcome.kills[point] += 1
        if len(consumers) < max(2, self._schedule.consumers):
            consumers.start()

    def _pause(self, paused: Script, consumers: Consumers) -> None:
        """Pause a consumer until the group has given its partitions to others."""
        if len(consumers) == 1:
            consumers.start()
        consumers.pause(paused)
        try:
            self._wait(consumers, lambda: self._tables.owns_nothing(paused.pid))
        finally:
            consumers.resume(paused)

    def _restart_server(self, kind: Kind) -> None:
        match kind:
            case Kind.KILL_POSTGRES:
                self._servers.kill_and_start("postgres")
            case Kind.STOP_POSTGRES:
                self._servers.stop_and_start("postgres")
            case Kind.KILL_SEARCH:
                self._servers.kill_and_start("opensearch")
            case Kind.KILL_KAFKA:
                assert self._servers.real_kafka is not None
                self._servers.real_kafka.ask("kill")
                self._servers.real_kafka.ask("start")

    def _send(self, records: Sequence[Record]) -> None:
        send(self._namespace.settings, records)

    def _has_stored(self, consumers: Consumers, records: int) -> bool:
        consumers.check()
        stored = self._tables.records()
        return stored is not None and stored >= records

    def _wait(self, consumers: Consumers, check: Callable[[], Any]) -> None:
        def is_true() -> bool:
            if not self._servers.real_kafka:
                killed = consumers.leave_stuck_group(self._wait_for_killed)
                self._outcome.kills["in a stuck group"] += killed
            return bool(check())

        eventually(is_true, PATIENCE_SECONDS)

    def _wait_for_killed(self) -> None:
        """Wait until PostgreSQL knows that consumers are gone: it refuses another group before."""
        eventually(self._tables.has_no_consumer, PATIENCE_SECONDS)

    # == After ==================================================================================

    def _end(self, consumers: Consumers) -> None:
        """End all consumers, and let another one drain the topic."""
        while len(consumers):
            if self._schedule.kill_all:
                consumers.kill(consumers.choose(0))
                self._outcome.kills["at a random time"] += 1
            else:
                consumers.stop(consumers.choose(0))
        self._wait_for_killed()
        settings = {} if self._servers.real_kafka else {"KAFKA_GROUP_ID": NEXT_GROUP}
        consumers.finish(consumers.start("--drain", **settings), PATIENCE_SECONDS)


def _split(records: Sequence[Record], parts: int) -> list[Sequence[Record]]:
    """Return records in this many parts of about the same length."""
    return [records[number::parts] for number in range(parts)]
