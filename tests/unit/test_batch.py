"""What parsing finds in a batch by itself: rejections, duplicates, conflicts, late events."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import LATE_AFTER, Batch, Parsed, parse_batch
from clickstream.storage.positions import OwnedPartition, TopicIdentity

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def record(
    offset: int,
    number: int,
    after: timedelta = timedelta(0),
    user_id: str = "v",
    partition: int = 0,
) -> Any:
    """A record with an event of a given id, so long after START."""
    body = {
        "event_id": str(UUID(int=number)),
        "event_type": "page_view",
        "timestamp": (START + after).isoformat(),
        "user_id": user_id,
    }
    return raw(offset, json.dumps(body).encode(), partition)


def raw(offset: int, value: bytes, partition: int = 0) -> Any:
    return SimpleNamespace(
        topic="t", partition=partition, offset=offset, key=b"k", value=value, timestamp=1
    )


def parsed(
    *records: Any,
    watermark: datetime | None = None,
    now: datetime = START + timedelta(days=1),
    known: set[tuple[int, int]] | None = None,
) -> Parsed:
    """What parsing makes of records, in partitions that all have this watermark."""
    by_partition: dict[int, list[Any]] = {}
    for each in records:
        by_partition.setdefault(each.partition, []).append(each)
    owned = {partition: OwnedPartition(0, 1, watermark) for partition in by_partition}
    assignment = Assignment(TopicIdentity("t", "id"), owned, 1)
    batch = Batch(by_partition, dict.fromkeys(by_partition, 0))
    return parse_batch(batch, assignment, known or set(), now=now, latest=now + timedelta(hours=1))


def repeated(found: Parsed) -> list[int]:
    return [record.offset for _, _, record in found.repeated]


def test_an_event_is_late_from_more_than_60_s_behind_its_partition() -> None:
    edge = START + LATE_AFTER
    assert len(parsed(record(0, 1), watermark=edge).late) == 0
    assert len(parsed(record(0, 1), watermark=edge + MICROSECOND).late) == 1
    ahead_elsewhere = [record(0, 1, timedelta(hours=1), partition=1), record(0, 2)]
    assert len(parsed(*ahead_elsewhere).late) == 0


def test_an_event_on_time_is_not_made_late_by_its_duplicate() -> None:
    found = parsed(record(0, 1), record(1, 2, timedelta(minutes=5)), record(2, 1))
    assert (found.late, repeated(found)) == (set(), [2])


def test_the_watermark_is_the_largest_event_time_but_not_beyond_now() -> None:
    records = [record(n, n, timedelta(minutes=minutes)) for n, minutes in enumerate((3, 9, 5))]
    assert parsed(*records).watermarks == {0: START + timedelta(minutes=9)}
    now = START + timedelta(minutes=4)
    assert parsed(*records, now=now).watermarks == {0: now}
    later = START + timedelta(hours=2)
    assert parsed(*records, watermark=later).watermarks == {0: later}


def test_the_first_record_with_a_key_counts_and_the_others_repeat_it() -> None:
    found = parsed(record(0, 1), record(1, 1), record(5, 1, partition=1))
    assert len(found.events) == 1
    assert repeated(found) == [1, 5]
    assert found.rejections == []


def test_a_record_with_the_key_of_another_visitors_event_waits_for_the_tables_word() -> None:
    found = parsed(record(0, 1, user_id="v"), record(1, 1, user_id="w"))
    ((key, event),) = found.events.items()
    assert event.user_id == "v"
    assert [(k, user_id, r.offset) for k, user_id, r in found.repeated] == [(key, "w", 1)]


def test_the_same_event_id_at_another_time_is_another_event() -> None:
    assert len(parsed(record(0, 1), record(1, 1, MICROSECOND)).events) == 2


def test_a_bad_record_among_good_ones_is_rejected_with_its_bytes() -> None:
    found = parsed(record(0, 1), raw(1, b"\xff"), record(2, 2))
    assert len(found.events) == 2
    (rejected,) = found.rejections
    assert (rejected.reason, rejected.offset, rejected.value) == ("not_utf8", 1, b"\xff")


def test_a_record_rejected_before_is_a_duplicate() -> None:
    found = parsed(raw(1, b"\xff"), raw(2, b"\xff"), known={(0, 1)})
    assert [rejection.offset for rejection in found.rejections] == [2]
    assert found.duplicates == {0: 1}


def test_an_event_in_the_future_is_rejected_by_the_time_given() -> None:
    now = START - timedelta(hours=1)
    assert parsed(record(0, 1), now=now).rejections == []
    (rejected,) = parsed(record(0, 1), now=now - MICROSECOND).rejections
    assert rejected.reason == "timestamp_out_of_range"
