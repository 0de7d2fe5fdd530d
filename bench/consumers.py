"""One to four consumers of a topic with six partitions: rates, and pauses of each.

The records are sent in a transaction, which is committed when all consumers own partitions; the
measured time begins then. A pause is a time in which a consumer stored nothing although its
partitions had records. It needs a real Kafka. Run it from the project's folder:
python -m bench.consumers
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from time import monotonic, sleep

from kafka import KafkaConsumer, TopicPartition

from bench import results, servers
from bench.consumer_run import check_rows, hot_share
from bench.cpu_time import POSTGRES, CpuClock
from bench.records import held_back
from bench.runs import Run, per_event
from bench.scripts import PROJECT, Script, run, running, verify
from clickstream import cli
from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import Connection, connect
from clickstream.settings import Settings

TITLE = "One to four consumers of six partitions"
MOST_CONSUMERS = 4
SAMPLE_SECONDS = 0.05
STORED = "SELECT owner, partition, records FROM stream_positions WHERE owner IS NOT NULL"
COLUMNS = (
    *("consumers", "events/s", "to one", "partitions of each", "ready after s, each"),
    *("longest pause s, each", "consumers' CPU", "PostgreSQL"),
)


@dataclass(slots=True)
class Member:
    """A consumer of the group, from the moment on at which all own partitions.

    left: records of its partitions that are not stored. moved: seconds from that moment until it
    last stored some; ready: until it had stored all.
    """

    partitions: int
    left: int
    moved: float = 0.0
    ready: float = 0.0
    pauses: list[float] = field(default_factory=lambda: [0.0])

    def observe(self, left: int, seconds: float) -> None:
        """Compare with the records that are left now."""
        if left < self.left:
            self.pauses.append(seconds - self.moved)
            self.left, self.moved = left, seconds
            if not left:
                self.ready = seconds


@dataclass(frozen=True, slots=True)
class GroupRun:
    """The figures of a number of consumers, and of each of them."""

    figures: Run
    members: list[Member]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=400_000, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=10_000, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.events, arguments.visitors))


def _run(events: int, visitors: int) -> int:
    with servers.running(["kafka", "postgres"]) as settings:
        measured = []
        for number in range(1, MOST_CONSUMERS + 1):
            with servers.database(servers.with_new_topic(settings)) as own:
                measured.append(measure_group(own, visitors, events, number))
    load = f"{events:,} events of {visitors:,} visitors. CPU in microseconds per event."
    results.keep(TITLE, [load, "", *results.table(COLUMNS, _rows(measured))])
    return cli.DONE


def measure_group(settings: Settings, visitors: int, events: int, number: int) -> GroupRun:
    """Run this many consumers until all is stored, and verify what they have stored.

    settings: they name an empty topic and an empty database; for the other numbers see `records`.
    Raises UserError if a number or a session is wrong.
    """
    run(PROJECT, settings, "create_schema.py")
    with ExitStack() as resources:
        commit = resources.enter_context(held_back(settings, events, visitors))
        sent = _end_offsets(settings)
        connection = resources.enter_context(closing(connect(settings, application="bench")))
        connection.autocommit = True
        scripts = [
            resources.enter_context(running(PROJECT, settings, "consumer.py"))
            for _ in range(number)
        ]
        while not _own_all(left := _left(connection, sent), number, len(sent)):
            _wait(scripts)
        members = {owner: Member(*each) for owner, each in left.items()}
        names = {f"consumer {n}": script.process for n, script in enumerate(scripts)}
        clock = CpuClock(settings, connection, names)
        commit()
        seconds = _seconds_of_all(connection, sent, scripts, members)
        cpu = per_event(clock.elapsed(), events)
        for script in scripts:
            script.stop()
        check_rows(connection, events)
        hot = hot_share(connection)
    verify(settings)
    figures = Run(f"{number} consumers", visitors, events, seconds, cpu, hot)
    return GroupRun(figures, list(members.values()))


def _seconds_of_all(
    connection: Connection,
    sent: Mapping[int, int],
    scripts: Iterable[Script],
    members: Mapping[str, Member],
) -> float:
    """Observe the consumers until all is stored, and return the seconds until then."""
    begin = monotonic()
    while any(member.left for member in members.values()):
        _wait(scripts)
        for owner, (_, left) in _left(connection, sent).items():
            members[owner].observe(left, monotonic() - begin)
    return monotonic() - begin


def _end_offsets(settings: Settings) -> dict[int, int]:
    """Return the number of records by partition, of a new topic."""
    with closing(KafkaConsumer(**connection_options(settings))) as consumer:
        topic = settings.kafka_topic
        partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
        found = consumer.end_offsets(partitions)
    return {partition.partition: offset for partition, offset in found.items()}


def _wait(scripts: Iterable[Script]) -> None:
    sleep(SAMPLE_SECONDS)
    for script in scripts:
        script.check()


def _left(connection: Connection, sent: Mapping[int, int]) -> dict[str, tuple[int, int]]:
    """Return for each owner its number of partitions, and their records that are not stored."""
    found: dict[str, tuple[int, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(STORED)
        for owner, partition, stored in cursor:
            partitions, left = found.get(owner, (0, 0))
            found[owner] = (partitions + 1, left + sent[partition] - stored)
    return found


def _own_all(left: Mapping[str, tuple[int, int]], number: int, partitions: int) -> bool:
    """Return True if this many consumers own all partitions."""
    return len(left) == number and sum(each for each, _ in left.values()) == partitions


def _rows(measured: Sequence[GroupRun]) -> list[list[str]]:
    return [
        [
            str(len(each.members)),
            f"{each.figures.rate:,.0f}",
            f"{each.figures.rate / measured[0].figures.rate:.2f}",
            ", ".join(str(member.partitions) for member in each.members),
            ", ".join(f"{member.ready:.1f}" for member in each.members),
            ", ".join(f"{max(member.pauses):.1f}" for member in each.members),
            f"{each.figures.own_cpu:.1f}",
            f"{each.figures.cpu.get(POSTGRES, 0.0):.1f}",
        ]
        for each in measured
    ]


if __name__ == "__main__":
    raise SystemExit(main())
