"""Counts of what the consumer stored since its last line of progress."""

from collections.abc import Iterable
from dataclasses import dataclass

from clickstream.storage.positions import PartitionProgress


@dataclass(slots=True)
class Counters:
    """Numbers of records, and of sessions closed."""

    records: int = 0
    duplicates: int = 0
    late: int = 0
    rejected: int = 0
    closed: int = 0

    def add(self, batch: Iterable[PartitionProgress]) -> None:
        """Add the progress of a batch that was committed."""
        for progress in batch:
            self.records += progress.records
            self.duplicates += progress.duplicates
            self.late += progress.late
            self.rejected += progress.rejected
