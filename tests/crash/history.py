"""Running one history: traffic, consumers that crash, and the checks after the last drain."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError
from opensearchpy.exceptions import OpenSearchException

from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import connect
from clickstream.errors import UserError
from clickstream.fail_points import FailPoint
from clickstream.settings import Settings
from tests.crash.consumers import Consumers, HistoryError
from tests.crash.repaired import make_repaired_events, merge_truth_files
from tests.crash.schedule import SIMULATED_HOURS, Action, Kind, Schedule
from tests.crash.servers import Servers
from tests.crash.tables import Tables
from tests.services.databases import CREATE_DATABASE, DROP_DATABASE
from tests.services.scripts import Script, command, plain_environment
from tests.services.search_servers import empty
from tests.services.waiting import eventually

# Nothing takes longer, except on a machine that is overloaded.
PATIENCE_SECONDS = 120.0
UNTIL = "2025-06-02T12:00:00Z"
FAULTS = ("--late", "0.1", "--duplicate", "0.05", "--malformed", "0.03", "--skew", "20")
# The local broker may keep members that left during a join. The consumer's log says so, and names
# the way out: another group.
NEXT_GROUP = "crash-drain"
# Everything that a history may raise without a defect of the harness.
FAILURES = (
    *(HistoryError, AssertionError, UserError, OSError, subprocess.SubprocessError),
    *(KafkaError, psycopg2.Error, OpenSearchException),
)
CHECKS = (("summary.py", "--verify"), ("clickstream", "search", "verify"))


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
        """Return the result as lines to print: one, or all that is known if it is wrong."""
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
        self._environment = _environment(self._schedule, servers, outcome.folder)
        self._settings = Settings.from_mapping(self._environment)
        self._tables = resources.enter_context(closing(Tables(self._settings)))

    def run(self) -> None:
        """Run it, and put what is wrong into the outcome."""
        self._create()
        consumers = Consumers(self._environment, self._outcome.folder)
        self._resources.callback(consumers.close)
        traffic = self._start_traffic()
        for _ in range(self._schedule.consumers):
            consumers.start()
        chunks = _split(self._repaired.records, len(self._schedule.actions) + 1)
        for action, chunk in zip(self._schedule.actions, chunks, strict=False):
            self._wait(partial(self._has_stored, consumers, action.records))
            time.sleep(action.seconds)  # so that it comes at any time, not at the end of a batch
            self._disturb(action, consumers, partial(self._send, chunk))
        self._send(chunks[-1])
        assert traffic.wait() == 0, traffic.output
        self._end(consumers)
        self._outcome.differences += self._differences(consumers)
        if not self._outcome.differences:
            self._delete()

    # == Before =================================================================================

    def _create(self) -> None:
        self._maintain(CREATE_DATABASE)
        self._run_script("create_schema.py")

    def _start_traffic(self) -> Script:
        schedule = self._schedule
        arguments = [
            *("--seed", str(schedule.seed), "--events", str(schedule.events), "--users", "300"),
            *("--backfill", f"{SIMULATED_HOURS}h", "--until", UNTIL, *FAULTS),
            *("--truth", str(self._truth("producer"))),
        ]
        if schedule.traffic_seconds:
            speed = SIMULATED_HOURS * 3_600 / schedule.traffic_seconds
            arguments += ["--speed", str(speed)]
        if schedule.random_keys:
            arguments.append("--unkeyed")
        line = command("producer.py", *arguments)
        traffic = Script(line, self._environment, self._outcome.folder)
        self._resources.callback(traffic.kill)
        return traffic

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
        self._wait(consumers.remove_killed)
        self._outcome.kills[point] += 1
        if len(consumers) < max(2, self._schedule.consumers):
            consumers.start()

    def _pause(self, paused: Script, consumers: Consumers) -> None:
        """Pause a consumer until the group has given its partitions to others."""
        if len(consumers) == 1:
            consumers.start()
        consumers.pause(paused)
        try:
            self._wait(lambda: self._tables.owns_nothing(paused.pid))
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

    def _send(self, records: list[Any]) -> None:
        """Send records of repaired events, until all are acknowledged."""
        options = connection_options(self._settings)
        with closing(KafkaProducer(**options)) as producer:
            sent = [
                producer.send(
                    self._settings.kafka_topic,
                    record.value,
                    key=record.key,
                    partition=record.partition,
                )
                for record in records
            ]
            for each in sent:
                each.get(timeout=PATIENCE_SECONDS)

    def _has_stored(self, consumers: Consumers, records: int) -> bool:
        consumers.check()
        stored = self._tables.records()
        return stored is not None and stored >= records

    def _wait(self, check: Callable[[], Any]) -> None:
        eventually(check, PATIENCE_SECONDS)

    # == After ==================================================================================

    def _end(self, consumers: Consumers) -> None:
        """End all consumers, and let another one drain the topic."""
        while len(consumers):
            if self._schedule.kill_all:
                consumers.kill(consumers.choose(0))
                self._outcome.kills["at a random time"] += 1
            else:
                consumers.stop(consumers.choose(0))
        settings = {} if self._servers.real_kafka else {"KAFKA_GROUP_ID": NEXT_GROUP}
        consumers.finish(consumers.start("--drain", **settings), PATIENCE_SECONDS)

    def _differences(self, consumers: Consumers) -> Iterator[str]:
        """Yield a sentence for everything that is wrong after the last drain."""
        truth = self._truth("producer")
        self._repaired.write_truth(self._truth("repaired"), _rule(self._settings))
        merged = self._truth("merged")
        totals = merge_truth_files(truth, self._truth("repaired"), merged)
        rejected = sum(totals["rejected"].values())
        self._outcome.records = totals["events"] + totals["duplicates"] + rejected
        yield from consumers.tracebacks()
        yield from self._tables.differences(
            records=self._outcome.records,
            rejected=rejected,
            duplicates=totals["duplicates"],
            repaired=self._repaired.fields,
        )
        for name, *arguments in (*CHECKS, ("summary.py", "--compare", str(merged))):
            checked = self._try_script(name, *arguments)
            if checked.returncode:
                yield f"{name} {' '.join(arguments)}:\n{checked.stdout}{checked.stderr}"

    def _delete(self) -> None:
        self._tables.close()
        self._maintain(DROP_DATABASE)
        empty(self._environment, f"{self._settings.opensearch_index_prefix}-*")
        options = connection_options(self._settings)
        with closing(KafkaAdminClient(**options)) as admin:
            admin.delete_topics([self._settings.kafka_topic])

    def _maintain(self, statement: str) -> None:
        settings = Settings.from_mapping(self._servers.environment)
        with closing(connect(settings, application="crash test")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement.format(name=self._settings.postgres_database))

    def _run_script(self, name: str, *arguments: str) -> None:
        ended = self._try_script(name, *arguments)
        if ended.returncode:
            raise HistoryError(f"{name} failed:\n{ended.stdout}{ended.stderr}")

    def _try_script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(name, *arguments),
            env=plain_environment(self._environment),
            cwd=self._outcome.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            start_new_session=True,  # Ctrl-C lets a history end first
            check=False,
        )

    def _truth(self, name: str) -> Path:
        return self._outcome.folder / f"truth-{name}.json"


def _environment(schedule: Schedule, servers: Servers, folder: Path) -> dict[str, str]:
    """Return the settings of a history's scripts."""
    (folder / ".env").touch()  # else scripts in this folder would read the project's
    name = f"crash-{schedule.seed}"
    return {
        **servers.environment,
        **schedule.settings,
        "KAFKA_TOPIC": name,
        "KAFKA_TOPIC_PARTITIONS": str(schedule.partitions),
        "KAFKA_GROUP_ID": name,
        "POSTGRES_DATABASE": name,
        "OPENSEARCH_INDEX_PREFIX": name,
        "CONSUMER_BATCH_EVENTS": str(schedule.batch_events),
        "CONSUMER_BATCH_MS": "50",
    }


def _rule(settings: Settings) -> dict[str, Any]:
    """Return the session rule as a truth file has it."""
    return {
        "timeout_seconds": settings.session_timeout_seconds,
        "start_events": settings.session_start_events,
        "end_events": settings.session_end_events,
    }


def _split(records: list[Any], parts: int) -> list[list[Any]]:
    """Return records in this many parts of about the same length."""
    return [records[number::parts] for number in range(parts)]
