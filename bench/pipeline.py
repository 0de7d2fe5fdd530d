"""Benchmark of the consumer from topic to PostgreSQL: events/s, memory, seconds of each step.

It starts a broker and a PostgreSQL, or uses those of TEST_KAFKA_* and TEST_POSTGRES_*. On the same
servers it also measures three limits: only polling the records, only copying the rows, and one
INSERT and COMMIT per event. Run it from the project's folder: python -m bench.pipeline
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from itertools import islice
from time import perf_counter
from typing import Any

from bench import support
from clickstream import cli
from clickstream.clients.postgres import Cursor, connect
from clickstream.consumer import batch
from clickstream.consumer.health import Health
from clickstream.consumer.session_cache import SessionCache
from clickstream.consumer.stream import Stream
from clickstream.model.events import EVENT_COLUMNS, Event
from clickstream.model.parse import parse
from clickstream.settings import Settings
from clickstream.storage import event_table, outcomes, positions, rejected_table, session_table
from clickstream.storage.copy_rows import copy, line

# Reading and storing run at the same time. An indented step is a part of the step above it.
STEPS: list[tuple[str, Any, str]] = [
    ("read from Kafka", Stream, "read"),
    ("store", batch, "store"),
    ("  lock positions", batch, "check_assignment"),
    ("  look for rejected records read again", rejected_table, "find"),
    ("  parse", batch, "parse_batch"),
    ("  insert events, decide outcomes", outcomes, "store_records"),
    ("    insert", event_table, "insert"),
    ("  bring sessions up to date", SessionCache, "apply"),
    ("    look for stored sessions", session_table, "find_nearby"),
    ("    upsert", session_table, "upsert"),
    ("  move positions", positions, "move"),
]
CLASSIC_EVENTS = 2_000
_NAMES = ", ".join(EVENT_COLUMNS)
_PLACES = ", ".join(["%s"] * len(EVENT_COLUMNS))
INSERT = f"INSERT INTO clickstream_events ({_NAMES}) VALUES ({_PLACES})"


class Clock:
    """Seconds spent in each step; start of the first and end of the last measured call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.first: float | None = None
        self.last = 0.0

    def measure(self, name: str, owner: Any, attribute: str) -> None:
        """Replace a function by one that also adds its time to `seconds[name]`."""
        original = getattr(owner, attribute)

        @wraps(original)
        def timed(*arguments: Any, **options: Any) -> Any:
            started = perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                self.last = perf_counter()
                self.seconds[name] = self.seconds.get(name, 0.0) + self.last - started
                if name == "store" and self.first is None:
                    self.first = started

        setattr(owner, attribute, timed)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the results and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=10_000, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.events, arguments.visitors))


def _run(events: int, visitors: int) -> int:
    with support.servers(["kafka", "postgres"]) as settings:
        support.produce(settings, events, visitors)
        polled = _polled_per_second(
            replace(settings, kafka_group_id=f"{settings.kafka_group_id}-poll"), events
        )
        sample = list(_events(min(events, 50_000), visitors))
        copied = _rate(len(sample), lambda: _copy(settings, sample))
        classic = _rate(CLASSIC_EVENTS, lambda: _insert_each(settings, sample[:CLASSIC_EVENTS]))
        _empty(settings)
        _consume(
            settings,
            events,
            visitors,
            {"polled only": polled, "copied only": copied, "INSERT and COMMIT per event": classic},
        )
    return cli.DONE


def _consume(settings: Settings, events: int, visitors: int, others: dict[str, float]) -> None:
    clock = Clock()
    for step in STEPS:
        clock.measure(*step)
    before = support.peak_mib()
    started = perf_counter()
    support.drain(settings)
    ready = clock.first or started
    elapsed = clock.last - ready
    rate = events / elapsed
    print(f"{events:,} events of {visitors:,} visitors: {rate:,.0f} events/s, first batch to last")
    for name, other in others.items():
        print(f"  {rate / other:5.2f} x {name} ({other:,.0f}/s)")
    print(f"memory: {support.peak_mib():.0f} MiB at most, {before:.0f} MiB before")
    print(f"seconds by step (of {elapsed:.1f}):")
    for name, _, _ in STEPS:
        seconds = clock.seconds.get(name, 0.0)
        print(f"  {name:<36}{seconds:6.1f}  {seconds / elapsed:4.0%}")


def _rate(events: int, work: Callable[[], None]) -> float:
    started = perf_counter()
    work()
    return events / (perf_counter() - started)


def _polled_per_second(settings: Settings, events: int) -> float:
    """Return the records per second if they are only read."""
    with closing(Stream(settings, Health().advance)) as stream:
        while not stream.settled:
            stream.read()
        stream.seek(stream.topic.beginning_offsets())

        def read_all() -> None:
            left = events
            while left > 0:
                read = stream.read()
                left -= sum(map(len, read.records.values())) if read else 0

        return _rate(events, read_all)


def _events(events: int, visitors: int) -> Iterator[Event]:
    latest = datetime.now(UTC) + timedelta(days=1)
    for number, (_, value) in enumerate(islice(support.records(events, visitors), events)):
        yield parse(value, origin=("bench", 0, number), latest=latest)


def _copy(settings: Settings, events: list[Event]) -> None:
    with _cursor(settings) as cursor:
        copy(cursor, f"clickstream_events ({_NAMES})", map(line, events))


def _insert_each(settings: Settings, events: list[Event]) -> None:
    _empty(settings)
    with closing(connect(settings, application="bench")) as connection:
        for event in events:
            with connection, connection.cursor() as cursor:
                cursor.execute(INSERT, event)


def _empty(settings: Settings) -> None:
    with _cursor(settings) as cursor:
        cursor.execute("TRUNCATE clickstream_events")


@contextmanager
def _cursor(settings: Settings) -> Iterator[Cursor]:
    """Yield a database cursor in one transaction on a new connection."""
    with (
        closing(connect(settings, application="bench")) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        yield cursor


if __name__ == "__main__":
    raise SystemExit(main())
