"""The producer's run: simulate or replay, send at the right pace, wait for acknowledgements."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from random import Random

from clickstream import cli
from clickstream.errors import UserError
from clickstream.sending import options as asked
from clickstream.sending import progress
from clickstream.sending.delivery import KafkaSink, Sink, StandardOutputSink
from clickstream.sending.options import Options
from clickstream.sending.pace import Wait, pace
from clickstream.sending.progress import OutageDetector
from clickstream.sending.replay import lines_expected, replay
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.event_json import SECOND, OutgoingRecord, SimulatedEvent
from clickstream.simulator.faults import FaultInjector
from clickstream.simulator.simulation import Simulation
from clickstream.simulator.timing import ConstantRate
from clickstream.simulator.truth import TruthWriter

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.02
# After a stop was requested, how long to wait for a server that does not answer.
STOP_TIMEOUT_SECONDS = 40.0


def produce(options: Options, settings: Settings) -> int:
    """Send what the options describe, until it is all sent or a signal comes.

    Return the exit status: 0 only if every record sent was acknowledged.
    """
    stop = Stop().on_signals()
    truth = _truth_writer(options, settings)
    faults = _fault_injector(options)
    simulation = None if options.replay else Simulation(asked.traffic(options, settings))
    sink: Sink = StandardOutputSink() if options.dry_run else KafkaSink(settings)
    now = time.time_ns() // 1000
    if simulation:
        events = takewhile(lambda _: not stop.requested, simulation.events(now))
        records = faults.records(truth.observe(events) if truth else events)
    else:
        records = _replayed(options, now + settings.max_future_seconds * SECOND, stop)
    try:
        with progress.shown(
            sink, _total(options, simulation, now), bar=_shows_bar(options)
        ) as show:
            deliver(records, sink, pace(options, now, stop), show, stop)
    finally:
        sink.close()
        _report(sink, faults)
    if sink.failed:
        return cli.FAILED
    if truth:
        truth.write(duplicates=faults.duplicates, rejected=faults.rejected)
    return cli.DONE


def _shows_bar(options: Options) -> bool:
    """Return True if standard error is a terminal on which no events are printed."""
    return sys.stderr.isatty() and not (options.dry_run and sys.stdout.isatty())


def _truth_writer(options: Options, settings: Settings) -> TruthWriter | None:
    if options.truth is None:
        return None
    return TruthWriter(
        options.truth,
        timeout=settings.session_timeout_seconds,
        start_events=settings.session_start_events,
        end_events=settings.session_end_events,
    )


def _fault_injector(options: Options) -> FaultInjector:
    # A random generator of its own: the visits are the same with faults and without.
    rng = Random() if options.seed is None else Random(f"faults {options.seed}")
    return FaultInjector(asked.fault_rates(options), rng)


def _total(options: Options, simulation: Simulation | None, now: int) -> int | None:
    """Return about how many records there will be, or None if that is unknown."""
    events = options.events
    if events is None:
        events = simulation.expected(now) if simulation else lines_expected(options.replay or "-")
    return None if events is None else round(events * (1 + options.duplicate + options.malformed))


def _replayed(options: Options, latest: int, stop: Stop) -> Iterator[OutgoingRecord]:
    source = options.replay or "-"
    records: Iterable[OutgoingRecord] = replay(source, stop, latest=latest, strict=options.strict)
    if options.rate is not None:
        timing = ConstantRate(options.rate, 0)
        records = (record._replace(due=timing.at(0)) for record in records)
    return islice(records, options.events)


def deliver(
    records: Iterable[OutgoingRecord | SimulatedEvent],
    sink: Sink,
    wait_until_due: Wait,
    show: Callable[[], None],
    stop: Stop,
) -> None:
    """Send each record when it is due, and wait until none is pending.

    show: called often, to display the progress.
    Raises UserError if a stop was requested and the server does not answer any more.
    """
    outage = OutageDetector(sink)
    try:
        for record in records:
            wait_until_due(record.due, show)
            while not sink.send(record):
                _wait_for_server(show, stop, outage)
            show()
    finally:
        while not sink.settle():
            _wait_for_server(show, stop, outage)


def _wait_for_server(show: Callable[[], None], stop: Stop, outage: OutageDetector) -> None:
    time.sleep(RETRY_SECONDS)
    show()
    if outage.seconds() > STOP_TIMEOUT_SECONDS and stop.requested:
        raise UserError(
            f"Kafka has not answered for {STOP_TIMEOUT_SECONDS:.0f} s, so the rest is given up; "
            "find the cause with: python -m clickstream doctor"
        )


def _report(sink: Sink, faults: FaultInjector) -> None:
    counts = (sink.sent, sink.acknowledged, sink.failed)
    logger.info("sent %d, acknowledged %d, failed %d", *counts)
    if faults.any_fault:
        logger.info(
            "deliberate faults: %d late, %d duplicates, %d malformed, %d with a wrong clock, "
            "%d without a key",
            *(faults.late, faults.duplicates, faults.rejected.total()),
            *(faults.skewed, faults.unkeyed),
        )
    if sink.failed:
        logger.error(
            "not acknowledged: %d records (no truth file is written); the first error: %s",
            sink.failed,
            sink.reason,
        )
