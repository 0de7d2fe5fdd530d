"""Closing sessions: a status that follows the watermark, and on which nothing else depends.

The watermark of a partition is the largest event time seen in it, up to now at most. That of the
pipeline is the minimum over the partitions that have had an event, so that no partition that is
ahead closes anybody's session; one that is caught up and whose watermark has not moved for a while
leaves the minimum. When all are
silent, it is the largest event time plus the wall time since, so that sessions close when traffic
stops. All wall times are PostgreSQL's.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from clickstream.clients.postgres import Cursor, only_row
from clickstream.storage.positions import TopicIdentity
from clickstream.storage.session_table import Change, note_changes

SILENT_AFTER = timedelta(seconds=60)
# So old a word of the owner no longer shows that the partition is caught up.
STALE_AFTER = timedelta(seconds=60)
CLOSE_AT_ONCE = 20_000

MARK_CAUGHT_UP = """
    UPDATE stream_positions SET caught_up_at = now()
    WHERE topic = %(topic)s AND partition = ANY (%(partitions)s)
"""
PIPELINE = """
    SELECT CASE WHEN count(*) > 0 THEN least(now(), CASE
        WHEN bool_and(silent) THEN max(watermark) + (now() - max(watermark_at))
        ELSE min(watermark) FILTER (WHERE NOT silent) END) END
    FROM (
        SELECT watermark, watermark_at, coalesce(
            caught_up_at - watermark_at >= %(silent_after)s
            AND now() - caught_up_at < %(stale_after)s, false) AS silent
        FROM stream_positions
        WHERE topic = %(topic)s AND topic_id = %(topic_id)s AND watermark IS NOT NULL
    ) AS partitions
"""
CLOSE = """
    UPDATE session_metrics SET closed_at = now(), close_reason = 'timeout'
    WHERE session_id IN (
        SELECT session_id FROM session_metrics
        WHERE closed_at IS NULL
          AND first_event_timestamp < %(watermark)s - %(timeout)s
          AND last_event_timestamp < %(watermark)s - %(timeout)s
        ORDER BY session_id
        LIMIT %(at_once)s
        FOR UPDATE SKIP LOCKED)
    RETURNING user_id, first_event_timestamp, last_event_timestamp
"""


def mark_caught_up(cursor: Cursor, topic: str, partitions: Collection[int]) -> None:
    """Note that these partitions have been read to their ends; their rows must be locked."""
    cursor.execute(MARK_CAUGHT_UP, {"topic": topic, "partitions": list(partitions)})


def pipeline_watermark(cursor: Cursor, topic: TopicIdentity) -> datetime | None:
    """The watermark of all partitions together; None before the first event."""
    cursor.execute(
        PIPELINE,
        {
            "topic": topic.name,
            "topic_id": topic.topic_id,
            "silent_after": SILENT_AFTER,
            "stale_after": STALE_AFTER,
        },
    )
    watermark: datetime | None = only_row(cursor)[0]
    return watermark


def close_sessions(cursor: Cursor, watermark: datetime, timeout: timedelta) -> int:
    """Close the sessions that the watermark has passed by more than the timeout; how many."""
    cursor.execute(CLOSE, {"watermark": watermark, "timeout": timeout, "at_once": CLOSE_AT_ONCE})
    closed = cursor.fetchall()
    note_changes(cursor, [Change(user_id, first, last, False) for user_id, first, last in closed])
    return len(closed)
