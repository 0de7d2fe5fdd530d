"""Parsing a batch: events, outcomes of records without one, late events and watermarks."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from clickstream.clients.unusable_value import UnusableValue
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import (
    LARGE_BATCH_RECORDS,
    LATE_AFTER,
    Batch,
    EventTimes,
    ParsedBatch,
    follow_watermarks,
    parse_batch,
)
from clickstream.model.events import Event
from clickstream.model.reading import NATIVE_READING
from clickstream.storage.outcomes import OutcomeKind, RecordOutcome
from clickstream.storage.positions import OwnedPartition, TopicIdentity

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def record(offset: int, number: int, after: timedelta = timedelta(0), *, partition: int = 0) -> Any:
    """Return a record with an event. number: gives its id. after: its time after START."""
    body = {
        "event_id": str(UUID(int=number)),
        "event_type": "page_view",
        "timestamp": (START + after).isoformat(),
        "user_id": "v",
    }
    return raw(offset, json.dumps(body).encode(), partition)


def raw(offset: int, value: bytes | UnusableValue, partition: int = 0) -> Any:
    return SimpleNamespace(
        topic="t", partition=partition, offset=offset, key=b"k", value=value, timestamp=1
    )


def parsed(*records: Any, now: datetime = START + timedelta(days=1)) -> ParsedBatch:
    by_partition: dict[int, list[Any]] = {}
    for each in records:
        by_partition.setdefault(each.partition, []).append(each)
    batch = Batch(by_partition, dict.fromkeys(by_partition, 0))
    return parse_batch(batch, now=now, reading=NATIVE_READING)


def times(
    *records: Any,
    watermark: datetime | None = None,
    now: datetime = START + timedelta(days=1),
) -> EventTimes:
    """Return the times of records whose partitions all have this watermark."""
    batch = parsed(*records, now=now)
    owned = {partition: OwnedPartition(0, 1, watermark) for partition in batch.read.records}
    return follow_watermarks(batch, Assignment(TopicIdentity("t", "id"), owned, 1), now)


def test_an_event_is_late_if_it_is_more_than_60_s_behind_its_partition() -> None:
    edge = START + LATE_AFTER
    assert len(times(record(0, 1), watermark=edge).late) == 0
    assert len(times(record(0, 1), watermark=edge + MICROSECOND).late) == 1
    ahead_elsewhere = [record(0, 1, timedelta(hours=1), partition=1), record(0, 2)]
    assert len(times(*ahead_elsewhere).late) == 0


def test_lateness_belongs_to_the_record_and_not_to_the_event() -> None:
    """A duplicate that comes late does not make an event late that came on time."""
    found = times(record(0, 1), record(1, 2, timedelta(minutes=5)), record(2, 1))
    assert found.late == [2]


def test_the_watermark_is_the_largest_event_time_but_not_beyond_now() -> None:
    records = [record(n, n, timedelta(minutes=minutes)) for n, minutes in enumerate((3, 9, 5))]
    assert times(*records).watermarks == {0: START + timedelta(minutes=9)}
    now = START + timedelta(minutes=4)
    assert times(*records, now=now).watermarks == {0: now}
    later = START + timedelta(hours=2)
    assert times(*records, watermark=later).watermarks == {0: later}


def test_every_record_has_a_result_in_the_order_of_the_records() -> None:
    found = parsed(record(0, 1), raw(1, b"\xff"), record(2, 2), record(5, 1, partition=1))
    assert [each.offset for each in found.records] == [0, 1, 2, 5]
    assert [isinstance(each, Event) for each in found.results] == [True, False, True, True]


def test_a_record_that_cannot_become_an_event_is_rejected_with_its_reason() -> None:
    (rejected,) = parsed(raw(1, b"\xff")).results
    assert isinstance(rejected, RecordOutcome)
    assert (rejected.kind, rejected.reason) == (OutcomeKind.REJECTED, "not_utf8")
    assert rejected.detail


def test_a_value_that_the_client_could_not_read_is_rejected_with_the_reason_of_the_client() -> None:
    unusable = UnusableValue("unreadable", "It cannot be decoded.")
    (rejected,) = parsed(raw(1, unusable)).results
    assert isinstance(rejected, RecordOutcome)
    assert (rejected.reason, rejected.detail) == (unusable.reason, unusable.detail)


def test_an_event_too_far_ahead_of_the_given_time_is_rejected_as_such() -> None:
    now = START - timedelta(hours=1)
    (accepted,) = parsed(record(0, 1), now=now).results
    assert isinstance(accepted, Event)
    (rejected,) = parsed(record(0, 1), now=now - MICROSECOND).results
    assert isinstance(rejected, RecordOutcome)
    assert (rejected.reason, rejected.is_too_far_ahead) == ("timestamp_out_of_range", True)
    years_before = timedelta(days=365 * 40)
    (rejected,) = parsed(record(0, 1, -years_before), now=now).results
    assert isinstance(rejected, RecordOutcome)
    assert (rejected.reason, rejected.is_too_far_ahead) == ("timestamp_out_of_range", False)


def test_a_full_or_large_batch_is_divided_by_partitions_and_any_other_is_stored_as_one() -> None:
    """Each record and each position is in one share, also of partitions without records."""
    records: dict[int, list[Any]] = {n: [raw(0, b"{}", n)] for n in (2, 7, 4)}
    positions = {2: 1, 7: 1, 4: 1, 5: 9}
    batch = Batch(records, positions)
    assert batch.shares() == [batch]
    full = Batch(records, positions, is_full=True)
    assert full.shares() == [
        Batch({2: records[2]}, {2: 1, 5: 9}),
        Batch({4: records[4], 7: records[7]}, {4: 1, 7: 1}),
    ]
    many: Any = {2: [None] * (LARGE_BATCH_RECORDS - 1), 7: [None]}
    assert len(Batch(many, positions).shares()) == 2
    assert len(Batch({2: many[2]}, positions).shares()) == 1
    assert Batch({}, {0: 1}, is_full=True).shares() == [Batch({}, {0: 1}), Batch({}, {})]


def test_two_batches_may_be_stored_at_once_if_no_partition_and_no_visitor_is_in_both() -> None:
    def event_of(visitor: str, partition: int) -> ParsedBatch:
        body = {"event_type": "click", "timestamp": START.isoformat(), "user_id": visitor}
        return parsed(raw(0, json.dumps(body).encode(), partition))

    assert event_of("v", 0).may_be_stored_beside(event_of("w", 1))
    assert not event_of("v", 0).may_be_stored_beside(event_of("w", 0))
    assert not event_of("v", 0).may_be_stored_beside(event_of("v", 1))
