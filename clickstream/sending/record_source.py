"""A source of records: what a simulation and the replay of a recorded file have in common."""

from collections.abc import Iterable
from typing import Protocol

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
