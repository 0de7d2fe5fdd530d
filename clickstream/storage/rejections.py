"""Records that could not become an event: kept with their reason and their raw bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg2.extras import execute_values

from clickstream.clients.postgres import Cursor
from clickstream.storage.positions import TopicIdentity

ROWS_AT_ONCE = 1_000
BYTES_AT_ONCE = 64 << 20

ADD = """
    INSERT INTO rejected_events
        (topic, topic_id, partition, "offset", reason, detail, key, value, record_timestamp)
    VALUES %s
    ON CONFLICT DO NOTHING
"""
KNOWN = """
    SELECT r.partition, r."offset"
    FROM unnest(%(partitions)s::integer[], %(firsts)s::bigint[], %(lasts)s::bigint[])
        AS read (partition, first, last)
    JOIN rejected_events r
      ON r.topic_id = %(topic_id)s AND r.partition = read.partition
     AND r."offset" BETWEEN read.first AND read.last
"""


# Reason and detail of a record whose key an event of another visitor has.
CONFLICT = (
    "event_id_conflict",
    "An event of another visitor is stored under the same event_id and timestamp.",
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that was refused. timestamp: the record's own, in milliseconds since 1970."""

    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    timestamp: int | None


def add(cursor: Cursor, topic: TopicIdentity, rejections: Sequence[Rejection]) -> None:
    """Store rejections; the caller leaves out those that `known` knows."""
    rows = [
        (
            topic.name,
            topic.topic_id,
            rejection.partition,
            rejection.offset,
            rejection.reason,
            rejection.detail,
            rejection.key,
            rejection.value,
            _time(rejection.timestamp),
        )
        for rejection in sorted(rejections, key=lambda item: (item.partition, item.offset))
    ]
    if rows:
        largest = max(len(rejection.value or b"") for rejection in rejections)
        rows_at_once = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // (largest + 1)))
        execute_values(cursor, ADD, rows, page_size=rows_at_once)


def known(
    cursor: Cursor, topic: TopicIdentity, ranges: Mapping[int, tuple[int, int]]
) -> set[tuple[int, int]]:
    """The rejected ones among offsets read again, as (partition, offset).

    ranges: first and last offset by partition.
    """
    cursor.execute(
        KNOWN,
        {
            "topic_id": topic.topic_id,
            "partitions": list(ranges),
            "firsts": [first for first, _ in ranges.values()],
            "lasts": [last for _, last in ranges.values()],
        },
    )
    return set(cursor.fetchall())


def _time(timestamp: int | None) -> datetime | None:
    if timestamp is None or timestamp < 0:
        return None
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
