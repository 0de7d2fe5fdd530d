"""The two sources of records: a simulation, and the replay of a recorded file."""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice, takewhile
from random import Random
from typing import Protocol

from clickstream.reading_settings import reading_of
from clickstream.sending import options as asked
from clickstream.sending.options import Options
from clickstream.sending.replay import Replay, events_expected
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.event_json import OutgoingRecord, SimulatedEvent
from clickstream.simulator.faults import FaultInjector
from clickstream.simulator.simulation import Simulation
from clickstream.simulator.timing import ConstantRate
from clickstream.simulator.truth import TruthWriter

logger = logging.getLogger(__name__)


class RecordSource(Protocol):
    """Creates the records to send. Times are microseconds since 1970."""

    def records(self, now: int, stop: Stop) -> Iterable[OutgoingRecord | SimulatedEvent]:
        """Return the records, up to their end or a stop; to be called once."""

    def expected(self, now: int) -> int | None:
        """Return about how many records there will be, or None if that is unknown."""

    def report(self) -> None:
        """Log the deliberate faults or the invalid events among the records so far."""

    def finish(self, *, is_complete: bool) -> None:
        """Write the truth file, if one is wanted. is_complete: no record has failed."""


def record_source(options: Options, settings: Settings) -> RecordSource:
    """Return the source that the options name. Raises UsageError if they do not fit it."""
    if options.replay is None:
        return SimulatedSource(options, settings)
    return ReplayedSource(options.replay, options, settings)


class SimulatedSource:
    """Simulated traffic, with deliberate faults and a truth file if they are asked for."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self._options = options
        self._truth = _truth_writer(options, settings)
        self._faults = _fault_injector(options)
        self._simulation = Simulation(asked.traffic(options, settings))

    def records(self, now: int, stop: Stop) -> Iterable[OutgoingRecord | SimulatedEvent]:
        events = takewhile(lambda _: not stop.requested, self._simulation.events(now))
        return self._faults.records(self._truth.observe(events) if self._truth else events)

    def expected(self, now: int) -> int | None:
        events = self._simulation.expected(now)
        added = self._options.duplicate + self._options.malformed
        return None if events is None else round(events * (1 + added))

    def report(self) -> None:
        faults = self._faults
        if faults.any_fault:
            logger.info(
                "deliberate faults: %d late, %d duplicates, %d malformed, %d with a wrong clock, "
                "%d without a key",
                *(faults.late, faults.duplicates, faults.rejected.total()),
                *(faults.skewed, faults.unkeyed),
            )

    def finish(self, *, is_complete: bool) -> None:
        if self._truth is None:
            return
        if is_complete:
            faults = self._faults
            self._truth.write(duplicates=faults.duplicates, rejected=faults.rejected)
        else:
            logger.error(
                "the truth file %s is not written, because records have failed", self._options.truth
            )


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


class ReplayedSource:
    """The events of a recorded file, with a warning about those that a consumer will reject."""

    def __init__(self, file: str, options: Options, settings: Settings) -> None:
        self._file = file
        self._options = options
        self._replay = Replay(
            file,
            renaming=asked.renaming(options),
            reading=reading_of(settings),
            now=partial(datetime.now, UTC),
            strict=options.strict,
        )

    def records(self, now: int, stop: Stop) -> Iterator[OutgoingRecord]:  # noqa: ARG002
        records = self._replay.records(stop)
        if self._options.rate is not None:
            timing = ConstantRate(self._options.rate, 0)
            records = (record._replace(due=timing.at(0)) for record in records)
        return islice(records, self._options.events)

    def expected(self, now: int) -> int | None:  # noqa: ARG002
        events = self._options.events
        return events_expected(self._file) if events is None else events

    def report(self) -> None:
        if warning := self._replay.warning():
            logger.warning("%s", warning)

    def finish(self, *, is_complete: bool) -> None:
        """Do nothing: a replay writes nothing."""
