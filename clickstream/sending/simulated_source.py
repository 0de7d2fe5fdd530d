"""Simulated traffic as a source of records, with deliberate faults and a truth file."""

import logging
from collections.abc import Iterable
from itertools import takewhile
from random import Random

from clickstream.sending import options as asked
from clickstream.sending.options import Options
from clickstream.sending.record_source import RecordSource
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.event_json import OutgoingRecord, SimulatedEvent
from clickstream.simulator.faults import FaultInjector
from clickstream.simulator.simulation import Simulation
from clickstream.simulator.truth import TruthWriter

logger = logging.getLogger(__name__)


class SimulatedSource(RecordSource):
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
