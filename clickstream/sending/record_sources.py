"""The two sources of records: a simulation, and the replay of a recorded file."""

from collections.abc import Iterable
from typing import Protocol

from clickstream.sending.options import Options
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.event_json import OutgoingRecord, SimulatedEvent


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
    # Imported here, because the simulation is slow to import.
    if options.replay is None:
        from clickstream.sending.simulated_source import SimulatedSource

        return SimulatedSource(options, settings)
    from clickstream.sending.replayed_source import ReplayedSource

    return ReplayedSource(options.replay, options, settings)
