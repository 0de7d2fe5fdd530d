"""Benchmark of freshness: from the acknowledgement of an event to its row in PostgreSQL.

At each rate, events are sent for SECONDS. Their acknowledgements are timed, and a second connection
to PostgreSQL watches which rows are visible. It also prints the consumer's CPU time, and that
without events. Run it from the project's folder: python -m bench.freshness
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from statistics import quantiles
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, NamedTuple

from kafka import KafkaProducer

from bench import servers
from bench.cpu_time import cpu_seconds
from bench.records import records
from bench.scripts import PROJECT, Script, running, verify
from clickstream import cli
from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import connect
from clickstream.errors import UserError
from clickstream.settings import Settings

RATES = [100, 2_000, 5_000]
VISITORS = 1_000
SECONDS = 10
# Events of the first seconds find visitors without a session, and empty caches.
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
        return all(self.seen.get(each.partition, [(0, 0)])[-1][1] > each.offset for each in events)

    def delays(self, events: Sequence[Acknowledged]) -> list[float]:
        """Return the seconds until the row of each event was visible."""
        times: dict[int, Iterator[tuple[float, int]]] = {}
        current: dict[int, tuple[float, int]] = {}
        found = []
        for event in sorted(events):
            steps = times.setdefault(event.partition, iter(self.seen[event.partition]))
            step = current.get(event.partition) or next(steps)
            while step[1] <= event.offset:
                step = next(steps)
            current[event.partition] = step
            found.append(max(0.0, step[0] - event.time))
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the results and return the exit status."""
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
            for rate in rates:
                _measure(settings, consumer, watch, rate, seconds)
        before = cpu_seconds(consumer.process)
        sleep(IDLE_SECONDS)
        idle = (cpu_seconds(consumer.process) - before) / IDLE_SECONDS
        print(f"without events: {idle:.1%} of a core")
        verify(settings)
    return cli.DONE


def _measure(settings: Settings, consumer: Script, watch: Watch, rate: int, seconds: int) -> None:
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
    delays = watch.delays([each for each in sent if each.time >= first])
    percentiles = quantiles((delay * MILLI for delay in delays), n=100)
    print(
        f"{rate:>5,}/s: p50 {percentiles[49]:4.0f} ms, p99 {percentiles[98]:4.0f} ms, maximum "
        f"{max(delays) * MILLI:4.0f} ms; consumer {cpu:.0%} of a core, "
        f"{cpu * 1_000_000 / rate:,.0f} us per event",
        flush=True,
    )


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
