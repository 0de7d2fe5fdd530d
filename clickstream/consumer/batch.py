"""Storing a batch of records. Exactness depends on the order of the steps."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor
from clickstream.clients.record_batch import Record
from clickstream.clients.unusable_value import UnusableValue
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.session_cache import SessionCache
from clickstream.errors import first_line
from clickstream.fail_points import FailPoint, reach
from clickstream.model.events import Event
from clickstream.model.field_names import NATIVE_FIELD_NAMES, FieldNames
from clickstream.model.named_visitors import visitors_of
from clickstream.model.reading import Reading
from clickstream.model.rejected_values import kept_value
from clickstream.model.strict_form import read_strict_form
from clickstream.storage import (
    outcomes,
    positions,
    rejected_table,
    session_table,
    stored_rule,
)
from clickstream.storage.outcomes import DUPLICATE, NEW, OutcomeKind, RecordOutcome, read_event
from clickstream.storage.positions import FencedError, PartitionProgress, TopicIdentity
from clickstream.storage.rejected_table import RejectedRecord
from clickstream.storage.session_table import SessionConflictError

logger = logging.getLogger(__name__)

# An event this far behind the watermark of its partition is counted as late.
LATE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records by partition in the order of their offsets, and the positions after them.

    positions: offset of the next record to read, also of partitions without records in this batch
    (control records occupy offsets).
    """

    records: Mapping[int, Sequence[Record]]
    positions: Mapping[int, int]

    def moves(self, assignment: Assignment) -> bool:
        """Return True if a position moves, by records or by control records."""
        return any(
            owned.position != self.positions[partition]
            for partition, owned in assignment.partitions.items()
        )


@dataclass(slots=True)
class ParsedBatch:
    """A batch after parsing.

    watermarks: by partition, after the records so far; None before the first event.
    records, results: parallel lists; a result is the record's event, or its outcome if it has none.
    late: indexes of the records more than LATE_AFTER behind the watermark of their partition.
    names: the names of fields that the records were read with.
    """

    watermarks: dict[int, datetime | None]
    records: list[Record] = field(default_factory=list)
    results: list[Event | RecordOutcome] = field(default_factory=list)
    late: set[int] = field(default_factory=set)
    names: FieldNames = NATIVE_FIELD_NAMES

    def events(self) -> Iterator[Event]:
        """Yield the events; they may turn out to be duplicates or conflicts."""
        return (result for result in self.results if isinstance(result, Event))

    def add(
        self,
        partition: int,
        records: Sequence[Record],
        results: Sequence[Event | RecordOutcome],
        now: datetime,
    ) -> None:
        """Add the records of a partition, and move its watermark, up to now at most.

        records: in the order of their offsets. results: of the same records.
        """
        watermark = self.watermarks[partition]
        for index, result in enumerate(results, start=len(self.results)):
            if isinstance(result, Event):
                if watermark is None or result.event_time > watermark:
                    watermark = min(result.event_time, now)
                elif watermark - result.event_time > LATE_AFTER:
                    self.late.add(index)
        self.watermarks[partition] = watermark
        self.records += records
        self.results += results

    def time_of(self, index: int) -> datetime | None:
        """Return the time that a record has in Kafka; None if it has none."""
        return rejected_table.record_time(self.records[index].timestamp)

    def visitors_of(self, index: int) -> set[str]:
        """Return the visitors that can be read in key and value of a record."""
        record = self.records[index]
        return visitors_of(record.key, first_bytes(record.value), self.names)


def store(
    connection: Connection,
    assignment: Assignment,
    batch: Batch,
    cache: SessionCache,
    *,
    now: datetime,
    reading: Reading,
    on_conflict: Callable[[ParsedBatch], object],
    on_stored: Callable[[ParsedBatch], object],
) -> dict[int, PartitionProgress]:
    """Store a batch, and return the progress of each partition.

    1. Parse. Before the transaction, because it may take longer than a transaction may be idle.
    2. Begin the transaction: lock the positions; compare epochs and rule version.
    3. Insert the events, and find out which are new.
    4. Update the sessions with the new events.
    5. Write the rejected records, move positions and counters. Then check that no other consumer
       has stored sessions of the same new visitors, if there is another one.
    6. Commit. Offsets are committed to Kafka only after that.

    After a deadlock, or if another consumer changes sessions of the same visitors at once, the
    batch is stored again, and no other batch meanwhile. storage/session_table.py says why one of
    the two consumers notices the conflict.

    now: the upper limit of watermarks; events may be up to reading.max_future ahead of it.
    on_conflict: called before a batch is stored again because of another consumer.
    on_stored: called after the commit.
    Raises FencedError if another consumer took over. After any exception the cache may be ahead of
    the tables.
    """
    parsed = parse_batch(batch, assignment, now=now, reading=reading)
    reach(FailPoint.PARSED)
    attempt = partial(_store, connection, assignment, batch, parsed, cache, reading)
    progress = _try_twice(attempt, parsed, cache, on_conflict)
    on_stored(parsed)
    return progress


def _try_twice(
    attempt: Callable[..., dict[int, PartitionProgress]],
    parsed: ParsedBatch,
    cache: SessionCache,
    on_conflict: Callable[[ParsedBatch], object],
) -> dict[int, PartitionProgress]:
    """Store a parsed batch; after a conflict with another consumer, store it again alone.

    attempt: `_store` with all its arguments except `alone`.
    """
    try:
        return attempt()
    except SessionConflictError:
        on_conflict(parsed)
    except errors.DeadlockDetected as error:
        logger.warning("PostgreSQL: %s; storing the batch again", first_line(error))
    cache.drop(event.user_id for event in parsed.events())
    return attempt(alone=True)


def _store(
    connection: Connection,
    assignment: Assignment,
    batch: Batch,
    parsed: ParsedBatch,
    cache: SessionCache,
    reading: Reading,
    *,
    alone: bool = False,
) -> dict[int, PartitionProgress]:
    """Store a parsed batch.

    alone: keep other batches out meanwhile, so that SessionConflictError cannot be raised.
    """
    with connection, connection.cursor() as cursor:
        others_write = check_assignment(cursor, assignment, alone=alone)
        reach(FailPoint.LOCKED)
        rejected_before = _rejected_before(cursor, assignment.topic, batch)
        stored = outcomes.store_records(
            cursor, parsed.results, parsed, some_are_stored=assignment.had_duplicates
        )
        reach(FailPoint.INSERTED)
        first_time_visitors = cache.apply(cursor, stored.new_events, others_write=others_write)
        reach(FailPoint.SESSIONS_UPDATED)
        decided, restored = _compare_with_before(parsed, stored.outcomes, rejected_before)
        rejected = list(_rejected_records(parsed, decided, reading))
        rejected_table.insert(cursor, assignment.topic, rejected)
        rejected_table.delete(cursor, assignment.topic, restored)
        progress = _progress(batch, parsed, decided, restored)
        positions.move(cursor, assignment.topic.name, progress)
        if others_write:
            session_table.check_first_sessions(cursor, first_time_visitors)
        reach(FailPoint.POSITIONS_MOVED)
    reach(FailPoint.COMMITTED)
    return progress


def check_assignment(cursor: Cursor, assignment: Assignment, *, alone: bool = False) -> bool:
    """Lock the positions of the owned partitions until the transaction ends.

    Return True if other consumers may write sessions: they own partitions, too. If none does, none
    can acquire one until the transaction ends.
    alone: keep all other batches out, too.
    Raises FencedError if another consumer took over a partition or the session rule changed.
    """
    epochs = {partition: owned.epoch for partition, owned in assignment.partitions.items()}
    others_write = positions.lock(cursor, assignment.topic.name, epochs, alone=alone)
    if stored_rule.read_version(cursor) != assignment.rule_version:
        raise FencedError("the session rule was changed")
    return others_write


def _rejected_before(cursor: Cursor, topic: TopicIdentity, batch: Batch) -> set[tuple[int, int]]:
    """Return the records of a batch that are stored as rejected: (partition, offset)."""
    ranges = {n: (read[0].offset, read[-1].offset) for n, read in batch.records.items() if read}
    return rejected_table.find(cursor, topic, ranges) if ranges else set()


def parse_batch(
    batch: Batch,
    assignment: Assignment,
    *,
    now: datetime,
    reading: Reading,
) -> ParsedBatch:
    """Turn records into events or outcomes, and follow the watermark of each partition."""
    latest = now + reading.max_future
    watermarks = {n: assignment.partitions[n].watermark for n in batch.records}
    parsed = ParsedBatch(watermarks, names=reading.field_names)
    for partition, records in batch.records.items():
        results = [
            # Most records are in the strict form, and need none of the other steps.
            read_strict_form(record.value, latest, reading) or read_record(record, latest, reading)
            for record in records
        ]
        parsed.add(partition, records, results, now)
    return parsed


def read_record(record: Record, latest: datetime, reading: Reading) -> Event | RecordOutcome:
    """Return the event of a record, or the outcome of a record without one.

    latest: the last event time accepted.
    """
    value = record.value
    if isinstance(value, UnusableValue):
        return RecordOutcome(OutcomeKind.REJECTED, value.reason, value.detail)
    return read_event(value, origin=_origin(record), latest=latest, reading=reading)


def _origin(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _compare_with_before(
    parsed: ParsedBatch,
    decided: Sequence[RecordOutcome],
    rejected_before: set[tuple[int, int]],
) -> tuple[list[RecordOutcome], list[tuple[int, int]]]:
    """Return the outcomes of a batch, and the records (partition, offset) no longer rejected.

    A record that was rejected before and is rejected again is a duplicate of its row.
    """
    outcomes_now = list(decided)
    restored = []
    for index, record in enumerate(parsed.records if rejected_before else ()):
        if (record.partition, record.offset) not in rejected_before:
            continue
        if decided[index].kind is OutcomeKind.REJECTED:
            outcomes_now[index] = DUPLICATE
        else:
            restored.append((record.partition, record.offset))
    return outcomes_now, restored


def _rejected_records(
    parsed: ParsedBatch, decided: Sequence[RecordOutcome], reading: Reading
) -> Iterator[RejectedRecord]:
    for record, outcome in zip(parsed.records, decided, strict=True):
        if outcome is not NEW and outcome.kind is OutcomeKind.REJECTED:
            sent = first_bytes(record.value)
            kept = kept_value(sent, _origin(record), reading)
            yield RejectedRecord(
                partition=record.partition,
                offset=record.offset,
                reason=outcome.reason,
                detail=outcome.detail + kept.note,
                key=record.key,
                value=kept.value,
                derived_event_id=kept.derived_event_id,
                timestamp=record.timestamp,
            )


def first_bytes(value: bytes | UnusableValue | None) -> bytes | None:
    """Return the value of a record, or its beginning if it cannot be used."""
    return value.first_bytes if isinstance(value, UnusableValue) else value


def _progress(
    batch: Batch,
    parsed: ParsedBatch,
    decided: Sequence[RecordOutcome],
    restored: Sequence[tuple[int, int]],
) -> dict[int, PartitionProgress]:
    numbers_restored = Counter(partition for partition, _ in restored)
    not_new: dict[int, list[RecordOutcome]] = {partition: [] for partition in batch.positions}
    for record, outcome in zip(parsed.records, decided, strict=True):
        if outcome is not NEW:
            not_new[record.partition].append(outcome)
    late = Counter(
        parsed.records[n].partition for n in parsed.late if decided[n].kind is OutcomeKind.NEW
    )
    return {
        partition: _partition_progress(
            position,
            parsed.watermarks.get(partition),
            len(batch.records.get(partition, ())),
            not_new[partition],
            late=late[partition],
            restored=numbers_restored[partition],
        )
        for partition, position in batch.positions.items()
    }


def _partition_progress(
    position: int,
    watermark: datetime | None,
    records: int,
    not_new: Sequence[RecordOutcome],
    *,
    late: int,
    restored: int,
) -> PartitionProgress:
    """Return the progress of a partition. not_new: outcomes of its records that are not new."""
    rejected = [outcome for outcome in not_new if outcome.kind is OutcomeKind.REJECTED]
    return PartitionProgress(
        position=position,
        watermark=watermark,
        records=records,
        duplicates=sum(outcome.kind is OutcomeKind.DUPLICATE for outcome in not_new),
        late=late,
        rejected_by_reason=Counter(outcome.reason for outcome in rejected),
        too_far_ahead=sum(outcome.is_too_far_ahead for outcome in rejected),
        restored=restored,
        removed=sum(outcome.kind is OutcomeKind.REMOVED for outcome in not_new),
    )
