"""Pauses when a consumer joins a group, stops or is killed; memory and connections of each.

Events are sent all the time. One consumer joins, one stops by SIGTERM, one is killed by SIGKILL,
and at last all are killed and one is started. It prints the longest time between two commits of a
partition, for the partitions that got another owner and for the others. Run it from the project's
folder:

    python -m bench.group --consumers 2 --partitions 6
"""

import argparse
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle, pairwise
from time import monotonic, sleep
from uuid import uuid4

from kafka import KafkaProducer

from bench.records import records
from bench.scripts import PROJECT, Script, verify
from bench.servers import database, running
from clickstream import cli
from clickstream.admin import setup
from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from clickstream.storage.schema import apply_tables

# After this many events the same ones are sent again, as duplicates.
EVENTS = 300_000
SAMPLE_SECONDS = 0.01
# Commits go on for this long after a change before the next one.
SETTLED_SECONDS = 3.0
DEADLINE_SECONDS = 300.0
SELECT_POSITIONS = """
    SELECT partition, position, owner FROM stream_positions WHERE owner IS NOT NULL
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the results and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--consumers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--partitions", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--rate", type=int, default=600, help="events/s; default: %(default)s")
    parser.add_argument("--visitors", type=int, default=10_000, help="default: %(default)s")
    given = parser.parse_args(argv)
    return cli.run(lambda: _run(given))


def _run(given: argparse.Namespace) -> int:
    with (
        running(["kafka", "postgres"]) as servers,
        _empty_topic(servers, given.partitions) as settings,
    ):
        _measure_pauses(settings, given)
        verify(settings)
    return cli.DONE


@contextmanager
def _empty_topic(servers: Settings, partitions: int) -> Iterator[Settings]:
    """Yield settings with a new topic and an empty database."""
    topic = f"bench-{uuid4().hex[:8]}"
    settings = replace(servers, kafka_topic=topic, kafka_topic_partitions=partitions)
    setup.apply_topic(settings)
    with database(settings) as own:
        apply_tables(own)
        yield own


# == Consumers and the positions that they store =================================================


class Group:
    """Consumers that run as processes. settings: the same for all."""

    def __init__(self, settings: Settings) -> None:
        self.running: list[Script] = []
        self._settings = settings

    @property
    def pids(self) -> set[str]:
        """The process ids, as text."""
        return {str(consumer.process.pid) for consumer in self.running}

    def start(self) -> None:
        """Start a consumer."""
        self.running.append(Script(PROJECT, self._settings, "consumer.py"))

    def stop(self) -> None:
        """Stop the consumer that runs longest, and wait for its end."""
        self.running.pop(0).stop()

    def kill(self) -> None:
        """Kill the consumer that runs longest."""
        self.running.pop(0).kill()

    def close(self) -> None:
        """Kill all."""
        while self.running:
            self.kill()


@dataclass(slots=True)
class Commits:
    """Commits of one partition as a sampler has seen them.

    times: seconds of the monotonic clock. owner: process id of the owner in the last sample.
    """

    position: int
    owner: str
    times: list[float] = field(default_factory=list)


class Sampler:
    """Reads the stored positions every SAMPLE_SECONDS, in a thread, until `close`."""

    def __init__(self, settings: Settings) -> None:
        self.partitions: dict[int, Commits] = {}
        self._connection = connect(settings, application="bench")
        self._connection.autocommit = True
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def owners(self) -> set[str]:
        """The process ids of the owners, as text."""
        return {commits.owner for commits in self.partitions.values()}

    def close(self) -> None:
        """Stop reading."""
        self._is_closed.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        with self._connection.cursor() as cursor:
            while not self._is_closed.wait(SAMPLE_SECONDS):
                cursor.execute(SELECT_POSITIONS)
                now = monotonic()
                for partition, position, owner in cursor.fetchall():
                    self._add(partition, position, owner.rpartition(" ")[2], now)

    def _add(self, partition: int, position: int, owner: str, now: float) -> None:
        commits = self.partitions.setdefault(partition, Commits(0, owner))
        if position > commits.position:
            commits.times.append(now)
            commits.position = position
        commits.owner = owner


def _wait(check: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + DEADLINE_SECONDS
    while not check():
        if monotonic() > deadline:
            raise TimeoutError(f"waited {DEADLINE_SECONDS:g} s for {what}")
        sleep(SAMPLE_SECONDS)


# == Pauses ======================================================================================


def _measure_pauses(settings: Settings, given: argparse.Namespace) -> None:
    with (
        _traffic(settings, given),
        closing(Group(settings)) as group,
        closing(Sampler(settings)) as sampler,
    ):
        for _ in range(given.consumers):
            group.start()
        _wait(lambda: len(sampler.partitions) == given.partitions, "the first commits")
        _settle(group, sampler)
        _print_sizes(group)
        print("longest time between two commits of a partition:")
        _measure(group, sampler, "nothing changes", lambda: None)
        _measure(group, sampler, "one joins", group.start)
        _measure(group, sampler, "one stops", group.stop)
        if given.consumers > 1:
            _measure(group, sampler, "one is killed", group.kill)
        _measure(group, sampler, "all are killed, one starts", lambda: _restart(group))


def _print_sizes(group: Group) -> None:
    for consumer in group.running:
        connections = len(consumer.process.net_connections("inet"))
        print(f"consumer: {consumer.size_mib():.0f} MiB, {connections} connections")


def _restart(group: Group) -> None:
    group.close()
    group.start()


def _measure(group: Group, sampler: Sampler, name: str, change: Callable[[], object]) -> None:
    before = {number: commits.owner for number, commits in sampler.partitions.items()}
    started = monotonic()
    change()
    _settle(group, sampler)
    longest: dict[bool, float] = {}
    for number, commits in sampler.partitions.items():
        moved = commits.owner != before[number]
        longest[moved] = max(longest.get(moved, 0.0), _longest_pause(commits.times, started))
    texts = [
        f"{longest[moved]:.2f} s ({'moved' if moved else 'stayed'})" for moved in sorted(longest)
    ]
    print(f"  {name:28}{', '.join(texts)}", flush=True)


def _settle(group: Group, sampler: Sampler) -> None:
    """Wait until each consumer is an owner and commits have gone on for SETTLED_SECONDS."""
    _wait(lambda: sampler.owners == group.pids, "all consumers to own partitions")
    settled = monotonic()

    def has_continued() -> bool:
        return all(
            commits.times and commits.times[-1] > settled + SETTLED_SECONDS
            for commits in sampler.partitions.values()
        )

    _wait(has_continued, "commits of all partitions")


def _longest_pause(times: Sequence[float], since: float) -> float:
    """Return the longest time between two commits, of which the second came after `since`."""
    return max(after - before for before, after in pairwise(times) if after > since)


@contextmanager
def _traffic(settings: Settings, given: argparse.Namespace) -> Iterator[None]:
    """Send events at a steady rate until the block is left."""
    is_over = threading.Event()
    events = cycle(records(EVENTS, given.visitors))

    def send() -> None:
        with closing(KafkaProducer(linger_ms=5, **connection_options(settings))) as producer:
            due = monotonic()
            while not is_over.wait(max(0.0, due - monotonic())):
                key, value = next(events)
                producer.send(settings.kafka_topic, key=key, value=value)
                due += 1 / given.rate

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
