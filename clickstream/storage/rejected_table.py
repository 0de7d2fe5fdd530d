"""The table rejected_events: records that could not become an event, with reason and raw bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg2.extras import execute_values

from clickstream.clients.postgres import Cursor
from clickstream.storage.positions import TopicIdentity

MAX_STATEMENT_ROWS = 1_000
# A statement has two characters for each byte, and the driver copies it several times.
MAX_STATEMENT_BYTES = 8 << 20

INSERT_REJECTED = """
    INSERT INTO rejected_events
        (topic, topic_id, partition, "offset", reason, detail, key, value, derived_event_id,
         record_timestamp)
    VALUES %s
    ON CONFLICT DO NOTHING
"""
SELECT_REJECTED_OFFSETS = """
    SELECT r.partition, r."offset"
    FROM unnest(%(partitions)s::integer[], %(firsts)s::bigint[], %(lasts)s::bigint[])
        AS read (partition, first, last)
    JOIN rejected_events r
      ON r.topic_id = %(topic_id)s AND r.partition = read.partition
     AND r."offset" BETWEEN read.first AND read.last
"""

DELETE_REJECTED = """
    DELETE FROM rejected_events r
    USING unnest(%(partitions)s::integer[], %(offsets)s::bigint[]) AS gone (partition, "offset")
    WHERE r.topic_id = %(topic_id)s AND r.partition = gone.partition
      AND r."offset" = gone."offset"
"""


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record with the reason why it is rejected.

    value, derived_event_id: as in KeptValue.
    timestamp: the record's own, in milliseconds since 1970.
    """

    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    derived_event_id: str | None
    timestamp: int | None


def insert(cursor: Cursor, topic: TopicIdentity, records: Sequence[RejectedRecord]) -> None:
    """Store rejected records; the caller leaves out those that `find` returns."""
    rows = [
        (
            topic.name,
            topic.topic_id,
            record.partition,
            record.offset,
            record.reason,
            record.detail,
            record.key,
            record.value,
            record.derived_event_id,
            record_time(record.timestamp),
        )
        for record in sorted(records, key=lambda each: (each.partition, each.offset))
    ]
    if rows:
        largest = max(len(record.value or b"") for record in records)
        page_size = max(1, min(MAX_STATEMENT_ROWS, MAX_STATEMENT_BYTES // (largest + 1)))
        execute_values(cursor, INSERT_REJECTED, rows, page_size=page_size)


def find(
    cursor: Cursor, topic: TopicIdentity, ranges: Mapping[int, tuple[int, int]]
) -> set[tuple[int, int]]:
    """Return which records are stored here, as (partition, offset).

    ranges: first and last offset to look at, by partition.
    """
    cursor.execute(
        SELECT_REJECTED_OFFSETS,
        {
            "topic_id": topic.topic_id,
            "partitions": list(ranges),
            "firsts": [first for first, _ in ranges.values()],
            "lasts": [last for _, last in ranges.values()],
        },
    )
    return set(cursor.fetchall())


def delete(cursor: Cursor, topic: TopicIdentity, locations: Sequence[tuple[int, int]]) -> None:
    """Delete records that are no longer rejected. locations: partition and offset of each."""
    if locations:
        values = {
            "topic_id": topic.topic_id,
            "partitions": [partition for partition, _ in locations],
            "offsets": [offset for _, offset in locations],
        }
        cursor.execute(DELETE_REJECTED, values)


def describe_reasons(numbers: Mapping[str, int]) -> str:
    """Return numbers of records by reason as text, the largest first: '3 not_json, 1 no_value'."""
    ordered = sorted(numbers.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{number} {reason}" for reason, number in ordered)


def record_time(timestamp: int | None) -> datetime | None:
    """Return a record's timestamp, or None if it has none or PostgreSQL cannot hold it."""
    if timestamp is None or timestamp < 0:
        return None
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
