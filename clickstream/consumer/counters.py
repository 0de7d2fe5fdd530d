"""Counts of what the consumer read and stored."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from clickstream.plurals import plural
from clickstream.storage.positions import PartitionProgress
from clickstream.storage.rejected_table import describe_reasons


@dataclass(slots=True)
class Counters:
    """Numbers of records, and of sessions closed."""

    records_by_partition: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0
    late: int = 0
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    removed: int = 0
    closed: int = 0

    def add(self, batch: Mapping[int, PartitionProgress]) -> None:
        """Add the progress of a batch that was committed."""
        for partition, progress in batch.items():
            self.records_by_partition[partition] += progress.records
            self.duplicates += progress.duplicates
            self.late += progress.late
            self.rejected_by_reason.update(progress.rejected_by_reason)
            self.removed += progress.removed

    def merge(self, other: "Counters") -> None:
        """Add the counts of another interval."""
        self.records_by_partition.update(other.records_by_partition)
        self.duplicates += other.duplicates
        self.late += other.late
        self.rejected_by_reason.update(other.rejected_by_reason)
        self.removed += other.removed
        self.closed += other.closed

    @property
    def records(self) -> int:
        """The number of records."""
        return self.records_by_partition.total()

    @property
    def rejected(self) -> int:
        """The number of rejected records."""
        return self.rejected_by_reason.total()

    @property
    def reasons(self) -> str:
        """The number of rejected records for each reason, as text."""
        return describe_reasons(self.rejected_by_reason)

    @property
    def stored(self) -> int:
        """The number of records that became a new row of clickstream_events."""
        return self.records - self.duplicates - self.rejected - self.removed

    def log_fields(self) -> dict[str, object]:
        """Return the counts as fields of a log line in JSON."""
        return {
            "records": self.records,
            "stored": self.stored,
            "duplicates": self.duplicates,
            "late": self.late,
            "rejected": self.rejected,
            "rejected_by_reason": dict(self.rejected_by_reason),
            "removed": self.removed,
            "sessions_closed": self.closed,
        }

    def __str__(self) -> str:
        outcomes = [f"{self.stored} stored"]
        if self.duplicates:
            outcomes.append(f"{self.duplicates} {plural(self.duplicates, 'duplicate')}")
        if self.rejected:
            outcomes.append(f"{self.rejected} rejected ({self.reasons})")
        if self.removed:
            outcomes.append(f"{self.removed} removed")
        return f"{self.records} {plural(self.records, 'record')}: {', '.join(outcomes)}"
