"""One batch, one transaction: the order of steps on which exactness rests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from clickstream.clients.postgres import Connection, Cursor
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.session_cache import SessionCache
from clickstream.model.events import Event, InvalidEventError, Key, parse
from clickstream.storage import event_table, positions, rejections, stored_rule
from clickstream.storage.positions import (
    FencedError,
    PartitionProgress,
    TopicIdentity,
)
from clickstream.storage.rejections import CONFLICT, Rejection

# An event this far behind the watermark of its partition is counted as late.
LATE_AFTER = timedelta(seconds=60)

# kafka-python's ConsumerRecord, which has no types.
Record = Any


@dataclass(frozen=True, slots=True)
class Batch:
    """Records by partition in the order of their offsets, and where the partitions then stand.

    positions: offset of the next record to read, also where no record was delivered (control
    records occupy offsets).
    """

    records: Mapping[int, Sequence[Record]]
    positions: Mapping[int, int]

    def moves(self, assignment: Assignment) -> bool:
        """Whether there is anything to store: records, or positions beyond control records."""
        return any(
            owned.position != self.positions[partition]
            for partition, owned in assignment.partitions.items()
        )


@dataclass(slots=True)
class Parsed:
    """A batch after parsing: one event per key, and what is known of the other records.

    repeated: records with a key that `events` has already, and their visitors; the table says
    whose the key is.
    """

    events: dict[Key, Event] = field(default_factory=dict)
    origins: dict[Key, Record] = field(default_factory=dict)
    repeated: list[tuple[Key, str, Record]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    duplicates: Counter[int] = field(default_factory=Counter)
    late: set[Key] = field(default_factory=set)
    watermarks: dict[int, datetime] = field(default_factory=dict)


def store(
    connection: Connection,
    assignment: Assignment,
    batch: Batch,
    visitors: SessionCache,
    *,
    now: datetime,
    max_future: timedelta,
) -> dict[int, PartitionProgress]:
    """Store a batch; what it added, by partition.

    1. Lock the positions; compare epochs and rule. 2. Parse. 3. Insert the raw rows, learning
    which are new. 4. Bring the sessions up to date with those. 5. Write the rejections, move
    positions and counters. 6. Commit. Offsets go to Kafka only after that.
    Raises FencedError where somebody took over. After any exception the visitors' cache may be
    ahead of the tables.
    """
    with connection, connection.cursor() as cursor:
        check_assignment(cursor, assignment)
        known = _rejected_before(cursor, assignment.topic, batch)
        parsed = parse_batch(batch, assignment, known, now=now, latest=now + max_future)
        inserted = event_table.insert(cursor, parsed.events)
        visitors.store(cursor, inserted.new)
        _account(parsed, inserted)
        rejections.add(cursor, assignment.topic, parsed.rejections)
        progress = _tallies(batch, parsed)
        positions.move(cursor, assignment.topic.name, progress)
    return progress


def check_assignment(cursor: Cursor, assignment: Assignment) -> None:
    """Lock the positions; FencedError where somebody took over or the rule changed."""
    epochs = {partition: owned.epoch for partition, owned in assignment.partitions.items()}
    positions.lock(cursor, assignment.topic.name, epochs)
    if stored_rule.version(cursor) != assignment.rule_version:
        raise FencedError("the session rule was changed")


def _rejected_before(cursor: Cursor, topic: TopicIdentity, batch: Batch) -> set[tuple[int, int]]:
    """Records read again that stand among the rejections, where they stay: duplicates."""
    ranges = {n: (read[0].offset, read[-1].offset) for n, read in batch.records.items() if read}
    return rejections.known(cursor, topic, ranges) if ranges else set()


def parse_batch(
    batch: Batch,
    assignment: Assignment,
    known: set[tuple[int, int]],
    *,
    now: datetime,
    latest: datetime,
) -> Parsed:
    """Turn records into events and rejections, and find those that repeat each other.

    known: (partition, offset) of records that were rejected before.
    """
    parsed = Parsed()
    for partition, records in batch.records.items():
        watermark = assignment.partitions[partition].watermark
        for record in records:
            if known and (partition, record.offset) in known:
                parsed.duplicates[partition] += 1
                continue
            try:
                event = parse(
                    record.value, origin=(record.topic, partition, record.offset), latest=latest
                )
            except InvalidEventError as error:
                parsed.rejections.append(_rejection(record, error.reason, error.detail))
                continue
            new = _add(parsed, event, record)
            if watermark is None or event.event_time > watermark:
                watermark = min(event.event_time, now)
            elif new and watermark - event.event_time > LATE_AFTER:
                parsed.late.add(event.key)
        if watermark is not None:
            parsed.watermarks[partition] = watermark
    return parsed


def _add(parsed: Parsed, event: Event, record: Record) -> bool:
    """Take an event, unless its key was taken by one before it; whether it was taken."""
    key = event.key
    if parsed.events.setdefault(key, event) is event:
        parsed.origins[key] = record
        return True
    parsed.repeated.append((key, event.user_id, record))
    return False


def _account(parsed: Parsed, inserted: event_table.Inserted) -> None:
    """Count what the table already had, and reject what it refused."""
    parsed.duplicates.update(parsed.origins[key].partition for key in inserted.duplicates)
    refused = {key: ("refused_by_postgres", why) for key, why in inserted.refused.items()}
    refused |= dict.fromkeys(inserted.conflicts, CONFLICT)
    parsed.rejections += [_rejection(parsed.origins[key], *why) for key, why in refused.items()]
    for key, user_id, record in parsed.repeated:
        if user_id == inserted.conflicts.get(key, parsed.events[key].user_id):
            if key in inserted.refused:
                parsed.rejections.append(_rejection(record, *refused[key]))
            else:
                parsed.duplicates[record.partition] += 1
        else:
            parsed.rejections.append(_rejection(record, *CONFLICT))
    parsed.late &= {event.key for event in inserted.new} if parsed.late else set()


def _tallies(batch: Batch, parsed: Parsed) -> dict[int, PartitionProgress]:
    rejected = Counter(rejection.partition for rejection in parsed.rejections)
    late = Counter(parsed.origins[key].partition for key in parsed.late)
    return {
        partition: PartitionProgress(
            position=position,
            watermark=parsed.watermarks.get(partition),
            records=len(batch.records.get(partition, ())),
            duplicates=parsed.duplicates[partition],
            late=late[partition],
            rejected=rejected[partition],
        )
        for partition, position in batch.positions.items()
    }


def _rejection(record: Record, reason: str, detail: str) -> Rejection:
    return Rejection(
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        detail=detail,
        key=record.key,
        value=record.value,
        timestamp=record.timestamp,
    )
