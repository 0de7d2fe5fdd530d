"""The producer's run: sends a source's records when they are due and waits for their answers."""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from clickstream import cli
from clickstream.errors import UserError
from clickstream.sending import progress
from clickstream.sending.blocks import in_blocks
from clickstream.sending.delivery import KafkaSink, Sink, StandardOutputSink
from clickstream.sending.options import Options
from clickstream.sending.pace import Wait, no_wait, pace
from clickstream.sending.progress import OutageDetector
from clickstream.sending.record_source import RecordSource
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.event_json import OutgoingRecord, SimulatedEvent

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.02
# After a stop was requested, how long to wait for a server that does not answer.
STOP_TIMEOUT_SECONDS = 40.0


def produce(options: Options, settings: Settings) -> int:
    """Send the records that the options describe, until all are sent or a signal comes.

    Return the exit status: 0 only if every record sent was acknowledged.
    """
    stop = Stop().on_signals()
    source = _record_source(options, settings)
    sink: Sink = StandardOutputSink() if options.dry_run else KafkaSink(settings)
    now = time.time_ns() // 1000
    try:
        with progress.display(sink, source.expected(now), bar=_shows_bar(options)) as show:
            records, wait = source.records(now, stop), pace(options, now, stop)
            if wait is no_wait and _is_at_hand(options):
                records = in_blocks(records)
            deliver(records, sink, wait, show, stop)
    finally:
        sink.close()
        logger.info("%s", progress.counts(sink))
        source.report()
        _report_failures(sink)
    source.finish(is_complete=not sink.failed)
    return cli.FAILED if sink.failed else cli.DONE


def _record_source(options: Options, settings: Settings) -> RecordSource:
    """Return the source that the options name. Raises UsageError if they do not fit it."""
    # Imported here, because the simulation is slow to import.
    if options.replay is None:
        from clickstream.sending.simulated_source import SimulatedSource

        return SimulatedSource(options, settings)
    from clickstream.sending.replayed_source import ReplayedSource

    return ReplayedSource(options.replay, options, settings)


def _is_at_hand(options: Options) -> bool:
    """Return True if reading a record never waits, for example for a program that writes a pipe."""
    return options.replay is None or Path(options.replay).is_file()


def _shows_bar(options: Options) -> bool:
    """Return True if standard error is a terminal on which no events are printed."""
    return sys.stderr.isatty() and not (options.dry_run and sys.stdout.isatty())


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
            f"Kafka has not answered for {STOP_TIMEOUT_SECONDS:.0f} s; the rest is not sent; "
            "find the cause with: python -m clickstream doctor"
        )


def _report_failures(sink: Sink) -> None:
    if sink.failed:
        logger.error(
            "not %s: %d records; the first error: %s",
            "acknowledged" if sink.acknowledges else "printed",
            sink.failed,
            sink.reason,
        )
