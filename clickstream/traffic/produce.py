"""The producer's loop: simulate or replay, keep the pace, send, wait for every acknowledgement."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile

from clickstream import script
from clickstream.settings import Settings
from clickstream.stopping import Stop
from clickstream.traffic import progress
from clickstream.traffic.delivery import Kafka, Sink, StandardOutput
from clickstream.traffic.events import SECOND, Record
from clickstream.traffic.options import Options
from clickstream.traffic.replay import replay
from clickstream.traffic.schedule import Steady
from clickstream.traffic.simulation import simulate

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.02
LONGEST_NAP_SECONDS = 0.2


def produce(options: Options, settings: Settings) -> int:
    """Do what the options ask for until it is done or a signal comes; the exit status.

    0 only if every record sent was acknowledged.
    """
    stop = Stop().on_signals()
    start = time.time_ns() // 1000
    records = _replayed(options) if options.replay else _simulated(options, settings, start)
    sink: Sink = StandardOutput() if options.dry_run else Kafka(settings)
    try:
        with progress.shown(sink, options.events) as show:
            try:
                _send(_until(stop, records), sink, _pace(options, start, stop), show)
            finally:
                _settle(sink, show)
    finally:
        sink.close()
    return _report(sink)


def _simulated(options: Options, settings: Settings, start: int) -> Iterator[Record]:
    for event in simulate(options, settings, start):
        yield Record(event.due, event.key(), event.value())


def _replayed(options: Options) -> Iterator[Record]:
    records: Iterable[Record] = replay(options.replay or "-", strict=options.strict)
    if options.rate is not None:
        clock = Steady(options.rate, 0)
        records = (record._replace(due=clock.at(0)) for record in records)
    return islice(records, options.events)


def _until(stop: Stop, records: Iterable[Record]) -> Iterator[Record]:
    return takewhile(lambda _: not stop.requested, records)


def _send(
    records: Iterable[Record],
    sink: Sink,
    pace: Callable[[int, Callable[[], None]], None],
    show: Callable[[], None],
) -> None:
    for record in records:
        pace(record.due, show)
        while not sink.has_room():
            time.sleep(LOOK_AGAIN_SECONDS)
            show()
        sink.send(record)
        show()


def _settle(sink: Sink, show: Callable[[], None]) -> None:
    while not sink.settle():
        time.sleep(LOOK_AGAIN_SECONDS)
        show()


def _pace(options: Options, start: int, stop: Stop) -> Callable[[int, Callable[[], None]], None]:
    """The function that waits until a time is due, in simulated or recorded time."""
    past = options.backfill is not None or options.until is not None
    if not past and not options.replay:
        return Pace(1, stop, start).wait
    if options.replay and options.rate is not None:
        return Pace(1, stop, 0).wait
    if options.speed is not None:
        return Pace(options.speed, stop).wait
    return lambda _due, _show: None


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
        if self._start is None:
            self._start = due
            self._began = time.monotonic()
        at = self._began + (due - self._start) / self._per_second
        while (left := at - time.monotonic()) > 0 and not self._stop.requested:
            self._stop.wait(min(left, LONGEST_NAP_SECONDS))
            show()


def _report(sink: Sink) -> int:
    logger.info("sent %d, acknowledged %d, failed %d", sink.sent, sink.acknowledged, sink.failed)
    if sink.failed:
        logger.error(
            "%d events were not acknowledged; the first because: %s", sink.failed, sink.reason
        )
        return script.FAILED
    return script.DONE
