"""The transaction that stores a batch. Exactness depends on the order of its steps."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import (
    Batch,
    EventTimes,
    ParsedBatch,
    first_bytes,
    follow_watermarks,
    origin,
)
from clickstream.consumer.session_cache import SessionCache
from clickstream.errors import first_line
from clickstream.fail_points import FailPoint, reach
from clickstream.model.rejected_values import kept_value
from clickstream.storage import outcomes, positions, rejected_table, session_table, stored_rule
from clickstream.storage.outcomes import DUPLICATE, NEW, OutcomeKind, RecordOutcome
from clickstream.storage.positions import FencedError, PartitionProgress, TopicIdentity
from clickstream.storage.rejected_table import RejectedRecord
from clickstream.storage.session_table import SessionConflictError

logger = logging.getLogger(__name__)


def store(
    connection: Connection,
    assignment: Assignment,
    parsed: ParsedBatch,
    cache: SessionCache,
    *,
    now: datetime,
    on_conflict: Callable[[ParsedBatch], object],
    on_stored: Callable[[ParsedBatch], object],
) -> dict[int, PartitionProgress]:
    """Store a batch, and return the progress of each partition.

    1. Before: parse. It may take longer than a transaction may be idle.
    2. Begin the transaction: lock the positions; compare epochs and rule version.
    3. Insert the events, and find out which are new.
    4. Update the sessions with the new events.
    5. Write the rejected records, move positions and counters. Then check that no other consumer
       has stored sessions of the same new visitors, if there is another one.
    6. Commit. Offsets are committed to Kafka only after that.

    The batch may be stored beside another one of the same consumer, with the same cache, if the two
    have no partition and no visitor in common.
    After a deadlock, or if another consumer changes sessions of the same visitors at once, the
    batch is stored again, alone. storage/session_table.py says why one of the two consumers notices
    the conflict.

    now: the upper limit of watermarks.
    on_conflict: called before a batch is stored again because of another consumer.
    on_stored: called after the commit.
    Raises FencedError if another consumer took over. After any exception the cache may be ahead of
    the tables.
    """
    times = follow_watermarks(parsed, assignment, now)
    reach(FailPoint.PARSED)
    attempt = partial(_store, connection, assignment, parsed, times, cache)
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
        logger.info("PostgreSQL: %s; storing the batch again", first_line(error))
    cache.drop(event.user_id for event in parsed.events())
    return attempt(alone=True)


def _store(
    connection: Connection,
    assignment: Assignment,
    parsed: ParsedBatch,
    times: EventTimes,
    cache: SessionCache,
    *,
    alone: bool = False,
) -> dict[int, PartitionProgress]:
    """Store a parsed batch.

    alone: store no other batch at the same time, so that SessionConflictError cannot be raised.
    """
    with connection, connection.cursor() as cursor:
        others_write = check_assignment(cursor, assignment, parsed.read.positions, alone=alone)
        reach(FailPoint.LOCKED)
        rejected_before = _rejected_before(cursor, assignment.topic, parsed.read)
        stored = outcomes.store_records(
            cursor, parsed.results, parsed, some_are_stored=assignment.had_duplicates
        )
        reach(FailPoint.INSERTED)
        first_time_visitors = cache.apply(cursor, stored.new_events, others_write=others_write)
        reach(FailPoint.SESSIONS_UPDATED)
        decided, restored = _compare_with_before(parsed, stored.outcomes, rejected_before)
        rejected = list(_rejected_records(parsed, decided))
        rejected_table.insert(cursor, assignment.topic, rejected)
        rejected_table.delete(cursor, assignment.topic, restored)
        progress = _progress(parsed, times, decided, restored)
        positions.move(cursor, assignment.topic.name, progress)
        if others_write:
            session_table.check_first_sessions(cursor, first_time_visitors)
        reach(FailPoint.POSITIONS_MOVED)
    reach(FailPoint.COMMITTED)
    return progress


def check_assignment(
    cursor: Cursor, assignment: Assignment, partitions: Iterable[int], *, alone: bool = False
) -> bool:
    """Lock the positions of owned partitions until the transaction ends.

    Return True if other consumers may write sessions: they own partitions, too. If none does, none
    can acquire one until the transaction ends.
    partitions: those to lock. alone: no other batch is stored until the transaction ends.
    Raises FencedError if another consumer took over a partition or the session rule changed.
    """
    others_write = positions.lock(
        cursor,
        assignment.topic.name,
        {partition: assignment.partitions[partition].epoch for partition in partitions},
        owned=assignment.partitions,
        backends=assignment.backends,
        alone=alone,
    )
    if stored_rule.read_version(cursor) != assignment.rule_version:
        raise FencedError("the session rule was changed")
    return others_write


def _rejected_before(cursor: Cursor, topic: TopicIdentity, batch: Batch) -> set[tuple[int, int]]:
    """Return the records of a batch that are stored as rejected: (partition, offset)."""
    ranges = {n: (read[0].offset, read[-1].offset) for n, read in batch.records.items() if read}
    return rejected_table.find(cursor, topic, ranges) if ranges else set()


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
    parsed: ParsedBatch, decided: Sequence[RecordOutcome]
) -> Iterator[RejectedRecord]:
    for record, outcome in zip(parsed.records, decided, strict=True):
        if outcome is not NEW and outcome.kind is OutcomeKind.REJECTED:
            sent = first_bytes(record.value)
            kept = kept_value(sent, origin(record), parsed.reading)
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


def _progress(
    parsed: ParsedBatch,
    times: EventTimes,
    decided: Sequence[RecordOutcome],
    restored: Sequence[tuple[int, int]],
) -> dict[int, PartitionProgress]:
    numbers_restored = Counter(partition for partition, _ in restored)
    not_new: dict[int, list[RecordOutcome]] = {partition: [] for partition in parsed.read.positions}
    for record, outcome in zip(parsed.records, decided, strict=True):
        if outcome is not NEW:
            not_new[record.partition].append(outcome)
    late = Counter(
        parsed.records[n].partition for n in times.late if decided[n].kind is OutcomeKind.NEW
    )
    return {
        partition: _partition_progress(
            position,
            times.watermarks.get(partition),
            len(parsed.read.records.get(partition, ())),
            not_new[partition],
            late=late[partition],
            restored=numbers_restored[partition],
        )
        for partition, position in parsed.read.positions.items()
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
