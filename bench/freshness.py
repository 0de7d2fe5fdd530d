"""Benchmark of freshness: from the acknowledgement of an event to its row in PostgreSQL.

Events are sent at each rate, and a second connection to PostgreSQL watches which rows are visible.
Run it from the project's folder: python -m bench.freshness
"""

import argparse
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from operator import itemgetter
from statistics import quantiles
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, NamedTuple

from kafka import KafkaProducer

from bench import results, servers
from bench.cpu_time import cpu_seconds
from bench.records import records
from bench.scripts import PROJECT, Script, running, verify
from clickstream import cli
from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import connect
from clickstream.errors import UserError
from clickstream.settings import Settings

TITLE = "Freshness"
COLUMNS = ("events/s", "p50 ms", "p99 ms", "maximum ms", "consumer, of a core")
RATES = [100, 2_000, 5_000]
VISITORS = 1_000
SECONDS = 10
# In the first seconds, visitors have no session yet and caches are empty.
WARM_UP_SECONDS = 2
IDLE_SECONDS = 5
WATCH_SECONDS = 0.002
DEADLINE_SECONDS = 60
MILLI = 1_000
# A position moves in the transaction that stores the rows of the records before it.
SELECT_POSITIONS = "SELECT partition, position FROM stream_positions"


class Acknowledged(NamedTuple):
    """An event that Kafka has acknowledged, at a time by time.monotonic."""

    partition: int
    offset: int
    time: float


class Watch:
    """A thread that notes when the stored positions move.

    seen: (time by time.monotonic, offset of the next record) by partition, in this order.
    """

    def __init__(self, settings: Settings) -> None:
        self.seen: dict[int, list[tuple[float, int]]] = {}
        self._settings = settings
        self._end = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        with closing(connect(self._settings, application="bench")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not self._end.wait(WATCH_SECONDS):
                    cursor.execute(SELECT_POSITIONS)
                    now = monotonic()
                    for partition, position in cursor:
                        seen = self.seen.setdefault(partition, [])
                        if not seen or seen[-1][1] != position:
                            seen.append((now, position))

    def has_stored(self, events: Sequence[Acknowledged]) -> bool:
        """Return True if the rows of all these events are visible."""
        ends = {partition: seen[-1][1] for partition, seen in dict(self.seen).items()}
        return all(ends.get(each.partition, 0) > each.offset for each in events)

    def delay(self, event: Acknowledged) -> float:
        """Return the seconds until the row of an event was visible."""
        seen = self.seen[event.partition]
        first = bisect_right(seen, event.offset, key=itemgetter(1))
        return max(0.0, seen[first][0] - event.time)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, action="append", help="events/s (default: all three)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.rate or RATES, arguments.seconds))


def _run(rates: Sequence[int], seconds: int) -> int:
    with (
        servers.servers(["kafka", "postgres"]) as settings,
        running(PROJECT, settings, "consumer.py") as consumer,
    ):
        consumer.wait_until_reading()
        with Watch(settings) as watch:
            rows = [_measure(settings, consumer, watch, rate, seconds) for rate in rates]
        before = cpu_seconds(consumer.process)
        sleep(IDLE_SECONDS)
        idle = (cpu_seconds(consumer.process) - before) / IDLE_SECONDS
        verify(settings)
    load = f"From the acknowledgement of an event to its visible row, {VISITORS:,} visitors."
    rest = f"Without events the consumer takes {idle:.1%} of a core."
    results.keep(TITLE, [load, rest, "", *results.table(COLUMNS, rows)])
    return cli.DONE


def _measure(
    settings: Settings, consumer: Script, watch: Watch, rate: int, seconds: int
) -> list[str]:
    """Send events at a rate; return the row of COLUMNS."""
    before = cpu_seconds(consumer.process)
    began = monotonic()
    sent = _send(settings, rate, seconds)
    while not watch.has_stored(sent):
        consumer.check()
        if monotonic() > began + seconds + DEADLINE_SECONDS:
            raise UserError(f"not all events are stored after {DEADLINE_SECONDS} s")
        sleep(WATCH_SECONDS)
    cpu = (cpu_seconds(consumer.process) - before) / (monotonic() - began)
    first = min(each.time for each in sent) + WARM_UP_SECONDS
    delays = [watch.delay(each) * MILLI for each in sent if each.time >= first]
    percentiles = quantiles(delays, n=100)
    figures = (percentiles[49], percentiles[98], max(delays))
    return [f"{rate:,}", *(f"{figure:.0f}" for figure in figures), f"{cpu:.0%}"]


def _send(settings: Settings, rate: int, seconds: int) -> list[Acknowledged]:
    """Send events at a rate, and return when each was acknowledged."""
    acknowledged: list[Acknowledged] = []

    def note(metadata: Any) -> None:
        acknowledged.append(Acknowledged(metadata.partition, metadata.offset, monotonic()))

    options = connection_options(settings)
    with closing(KafkaProducer(acks="all", **options)) as producer:
        number = rate * seconds
        began = monotonic()
        for sent, (key, value) in enumerate(islice(records(number, VISITORS), number)):
            sleep(max(0.0, began + sent / rate - monotonic()))
            producer.send(settings.kafka_topic, key=key, value=value).add_callback(note)
        producer.flush()
    return acknowledged


if __name__ == "__main__":
    raise SystemExit(main())
