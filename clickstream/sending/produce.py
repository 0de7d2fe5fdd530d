"""The producer's loop: simulate or replay, keep the pace, send, wait for every acknowledgement."""

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from random import Random

from clickstream import cli
from clickstream.errors import UserError
from clickstream.sending import progress
from clickstream.sending.delivery import Kafka, Sink, StandardOutput
from clickstream.sending.options import Options
from clickstream.sending.progress import Silence
from clickstream.sending.replay import lines_expected, replay
from clickstream.sending.simulation import Simulation
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.event_json import AT_ONCE, SECOND, Event, Record
from clickstream.simulator.faults import Faults, Plan
from clickstream.simulator.schedule import Steady
from clickstream.simulator.truth import Truth

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.02
# Who has asked for the stop waits no longer than this for a server that does not answer.
PATIENCE_SECONDS = 40.0
# Many short waits would cost more than sending does; a long one would leave the display behind.
SHORTEST_NAP_SECONDS, LONGEST_NAP_SECONDS = 0.002, 0.2


def produce(options: Options, settings: Settings) -> int:
    """Do what the options ask for until it is done or a signal comes; the exit status.

    0 only if every record sent was acknowledged.
    """
    stop = Stop().on_signals()
    truth = Truth(options.truth, settings) if options.truth else None
    faults = _faults(options)
    simulation = None if options.replay else Simulation(options, settings)
    sink: Sink = StandardOutput() if options.dry_run else Kafka(settings)
    now = time.time_ns() // 1000
    if simulation:
        events = takewhile(lambda _: not stop.requested, simulation.events(now))
        records = faults.records(truth.follow(events) if truth else events)
    else:
        records = _replayed(options, now + settings.max_future_seconds * SECOND, stop)
    try:
        with progress.shown(
            sink, _total(options, simulation, now), bar=_is_watched(options)
        ) as show:
            deliver(records, sink, _pace(options, now, stop), show, stop)
    finally:
        sink.close()
        _report(sink, faults)
    if sink.failed:
        return cli.FAILED
    if truth:
        truth.write(duplicates=faults.duplicates, rejected=faults.rejected)
    return cli.DONE


def _is_watched(options: Options) -> bool:
    """Whether a person sees standard error, and not the events printed beside it."""
    return sys.stderr.isatty() and not (options.dry_run and sys.stdout.isatty())


def _faults(options: Options) -> Faults:
    plan = Plan(
        late=options.late,
        max_lateness=options.max_lateness,
        duplicate=options.duplicate,
        malformed=options.malformed,
        skew=options.skew,
        unkeyed=options.unkeyed,
    )
    # Chance of their own: the visits are the same with faults and without.
    return Faults(plan, Random() if options.seed is None else Random(f"faults {options.seed}"))


def _total(options: Options, simulation: Simulation | None, now: int) -> int | None:
    """About how many records there will be, None where nobody knows."""
    events = options.events
    if events is None:
        events = simulation.expected(now) if simulation else lines_expected(options.replay or "-")
    return None if events is None else round(events * (1 + options.duplicate + options.malformed))


def _replayed(options: Options, latest: int, stop: Stop) -> Iterator[Record]:
    source = options.replay or "-"
    records: Iterable[Record] = replay(source, stop, latest=latest, strict=options.strict)
    if options.rate is not None:
        clock = Steady(options.rate, 0)
        records = (record._replace(due=clock.at(0)) for record in records)
    return islice(records, options.events)


def deliver(
    records: Iterable[Record | Event],
    sink: Sink,
    pace: Callable[[int, Callable[[], None]], None],
    show: Callable[[], None],
    stop: Stop,
) -> None:
    """Send the records, each when `pace` lets it, and wait until none is pending.

    Raises UserError where, after a stop, the server answers no more.
    """
    # Next to nothing here is cyclic garbage. Looking for it after every 700 objects costs a tenth;
    # among millions at once it would interrupt a steady rate for half a second.
    gc.set_threshold(200_000, 3, 300)
    silence = Silence(sink)
    try:
        for record in records:
            pace(record.due, show)
            while not sink.send(record):
                _wait(show, stop, silence)
            show()
    finally:
        while not sink.settle():
            _wait(show, stop, silence)


def _wait(show: Callable[[], None], stop: Stop, silence: Silence) -> None:
    """Let the server work for a moment."""
    time.sleep(LOOK_AGAIN_SECONDS)
    show()
    if silence.seconds() > PATIENCE_SECONDS and stop.requested:
        raise UserError(
            f"Kafka has not answered for {PATIENCE_SECONDS:.0f} s, so the rest is given up; "
            "find the cause with: python -m clickstream doctor"
        )


def _pace(options: Options, now: int, stop: Stop) -> Callable[[int, Callable[[], None]], None]:
    """The function that waits until a time is due, in simulated or recorded time."""
    if options.is_live:
        return Pace(1, stop, now).wait
    if options.replay and options.rate is not None:
        return Pace(1, stop, 0).wait
    if options.speed is not None:
        return Pace(options.speed, stop).wait
    return no_pace


def no_pace(_due: int, _show: Callable[[], None]) -> None:
    """As fast as possible."""


class Pace:
    """Lets `speed` seconds of simulated time pass in one second.

    start: the time that is now, in microseconds; without it the first one asked for.
    """

    def __init__(self, speed: float, stop: Stop, start: int | None = None) -> None:
        self._per_second = speed * SECOND
        self._stop = stop
        self._start = start
        self._began = time.monotonic()

    def wait(self, due: int, show: Callable[[], None]) -> None:
        """Wait until a time has come, or for the stop, calling `show` all the while."""
        if due == AT_ONCE:
            return
        if self._start is None:
            self._start = due
            self._began = time.monotonic()
        at = self._began + (due - self._start) / self._per_second
        while (left := at - time.monotonic()) > 0 and not self._stop.requested:
            self._stop.wait(min(max(left, SHORTEST_NAP_SECONDS), LONGEST_NAP_SECONDS))
            show()


def _report(sink: Sink, faults: Faults) -> None:
    counts = (sink.sent, sink.acknowledged, sink.failed)
    logger.info("sent %d, acknowledged %d, failed %d", *counts)
    if faults.planned:
        logger.info(
            "of these on purpose: %d late, %d duplicates, %d malformed, %d with a wrong clock, "
            "%d without a key",
            *(faults.late, faults.duplicates, faults.rejected.total()),
            *(faults.skewed, faults.unkeyed),
        )
    if sink.failed:
        logger.error(
            "not acknowledged: %d records (a truth file is not written then); the first: %s",
            sink.failed,
            sink.reason,
        )
