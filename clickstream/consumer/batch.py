"""A batch of records, before and after they are parsed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from clickstream.clients.record_batch import Record
from clickstream.clients.unusable_value import UnusableValue
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.shares import divide
from clickstream.model.events import Event
from clickstream.model.named_visitors import visitors_of
from clickstream.model.reading import Reading
from clickstream.model.strict_form import read_strict_form
from clickstream.storage import rejected_table
from clickstream.storage.outcomes import OutcomeKind, RecordOutcome, read_event

# An event this far behind the watermark of its partition is counted as late.
LATE_AFTER = timedelta(seconds=60)
# Fewer records take less time in one transaction than in two.
LARGE_BATCH_RECORDS = 2_000
# Records that are parsed between two pauses. Some of 1 MiB take a second each.
RECORDS_PER_PAUSE = 5


@dataclass(frozen=True, slots=True)
class Batch:
    """Records by partition in the order of their offsets, and the positions after them.

    positions: offset of the next record to read, also of partitions without records in this batch
    (control records occupy offsets). is_full: it ended at a limit, so that more records may wait.
    """

    records: Mapping[int, Sequence[Record]]
    positions: Mapping[int, int]
    is_full: bool = False

    @property
    def is_large(self) -> bool:
        """True if it is divided between the storing threads: it is full, or has many records."""
        return self.is_full or sum(map(len, self.records.values())) >= LARGE_BATCH_RECORDS

    def shares(self) -> list["Batch"]:
        """Return the share of each storing thread. The first one has all of a small batch."""
        if not self.is_large:
            return [self]
        return [self._share(partitions) for partitions in divide(self.positions)]

    def _share(self, partitions: Sequence[int]) -> "Batch":
        return Batch(
            {n: self.records[n] for n in partitions if n in self.records},
            {n: self.positions[n] for n in partitions},
        )

    def moves(self, assignment: Assignment) -> bool:
        """Return True if a position moves, by records or by control records."""
        return any(
            assignment.partitions[partition].position != position
            for partition, position in self.positions.items()
        )


@dataclass(slots=True)
class ParsedBatch:
    """A batch after parsing.

    read: the batch before parsing. reading: the settings of parsing. records, results: parallel
    lists; a result is the record's event, or its outcome if it has none. visitors: those of the
    events.
    """

    read: Batch
    reading: Reading
    records: list[Record] = field(default_factory=list)
    results: list[Event | RecordOutcome] = field(default_factory=list)
    visitors: set[str] = field(default_factory=set)

    def may_be_stored_beside(self, other: "ParsedBatch") -> bool:
        """Return True if two batches have no partition and no visitor in common."""
        return self.read.positions.keys().isdisjoint(
            other.read.positions
        ) and self.visitors.isdisjoint(other.visitors)

    def events(self) -> Iterator[Event]:
        """Yield the events; they may turn out to be duplicates or conflicts."""
        return (result for result in self.results if isinstance(result, Event))

    def time_of(self, index: int) -> datetime | None:
        """Return the time that a record has in Kafka; None if it has none."""
        return rejected_table.record_time(self.records[index].timestamp)

    def visitors_of(self, index: int) -> set[str]:
        """Return the visitors that can be read in key and value of a record."""
        record = self.records[index]
        return visitors_of(record.key, first_bytes(record.value), self.reading.field_names)


def parse_batch(
    batch: Batch,
    *,
    now: datetime,
    reading: Reading,
    pause: Callable[[], object] = lambda: None,
) -> ParsedBatch:
    """Turn records into events or outcomes; events may be up to reading.max_future after now.

    pause: called after RECORDS_PER_PAUSE records at most.
    """
    latest = now + reading.max_future
    parsed = ParsedBatch(batch, reading)
    for records in batch.records.values():
        parsed.records += records
        for first in range(0, len(records), RECORDS_PER_PAUSE):
            parsed.results += [
                # Most records are in the strict form, and need none of the other steps.
                read_strict_form(record.value, latest, reading)
                or read_record(record, latest, reading)
                for record in records[first : first + RECORDS_PER_PAUSE]
            ]
            pause()
    parsed.visitors = {event.user_id for event in parsed.events()}
    return parsed


def read_record(record: Record, latest: datetime, reading: Reading) -> Event | RecordOutcome:
    """Return the event of a record, or the outcome of a record without one.

    latest: the last event time accepted.
    """
    value = record.value
    if isinstance(value, UnusableValue):
        return RecordOutcome(OutcomeKind.REJECTED, value.reason, value.detail)
    return read_event(value, origin=origin(record), latest=latest, reading=reading)


def origin(record: Record) -> tuple[str, int, int]:
    """Return topic, partition and offset of a record."""
    return record.topic, record.partition, record.offset


def first_bytes(value: bytes | UnusableValue | None) -> bytes | None:
    """Return the value of a record, or its beginning if it cannot be used."""
    return value.first_bytes if isinstance(value, UnusableValue) else value


@dataclass(slots=True)
class EventTimes:
    """The event times of a batch, compared with the watermarks.

    watermarks: by partition, after the batch; None before the first event. late: indexes of the
    records that are more than LATE_AFTER behind the watermark of their partition.
    """

    watermarks: dict[int, datetime | None]
    late: list[int] = field(default_factory=list)


def follow_watermarks(parsed: ParsedBatch, assignment: Assignment, now: datetime) -> EventTimes:
    """Move the watermark of each partition with its events, up to now at most."""
    times = EventTimes({n: assignment.partitions[n].watermark for n in parsed.read.records})
    results = enumerate(parsed.results)
    for partition, records in parsed.read.records.items():
        watermark = times.watermarks[partition]
        for index, result in islice(results, len(records)):
            if isinstance(result, Event):
                if watermark is None or result.event_time > watermark:
                    watermark = min(result.event_time, now)
                elif watermark - result.event_time > LATE_AFTER:
                    times.late.append(index)
        times.watermarks[partition] = watermark
    return times
