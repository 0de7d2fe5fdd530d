"""Watermarks, and closing the sessions that they have passed.

The watermark of a partition is its largest event time, counted up to now at most. The watermark of
the pipeline is the smallest of the partitions that had an event, so that a partition that is ahead
closes no session early. A partition that is caught up and whose watermark has not moved for
SILENT_AFTER is left out. If all are silent, the watermark is the largest event time plus the time
since, so that sessions close when traffic stops. The times are those of PostgreSQL's clock.

Closing is a status only: nothing else depends on it, and a late event reopens the session.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from clickstream.clients.postgres import Cursor, only_row
from clickstream.storage.change_log import IS_LOGGED
from clickstream.storage.positions import TopicIdentity

SILENT_AFTER = timedelta(seconds=60)
# If the owner has not reported for this long, the partition no longer counts as caught up.
STALE_AFTER = timedelta(seconds=60)
# Sessions closed in one transaction, for which the next batch of a thread has to wait.
MAX_CLOSED_SESSIONS = 20_000

MARK_CAUGHT_UP = """
    UPDATE stream_positions SET caught_up_at = now()
    WHERE topic = %(topic)s AND partition = ANY (%(partitions)s)
"""
SELECT_PIPELINE_WATERMARK = """
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
# The sessions that started first, found by the index of open sessions. A locked row keeps its ctid.
# Nothing here waits for a lock, so the order of the rows cannot cause a deadlock.
CLOSE_SESSIONS = f"""
    WITH closed AS (
        UPDATE session_metrics SET closed_at = now(), close_reason = 'timeout'
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM session_metrics
            WHERE closed_at IS NULL
              AND first_event_timestamp < %(watermark)s - %(timeout)s
              AND last_event_timestamp < %(watermark)s - %(timeout)s
            ORDER BY first_event_timestamp
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED))
        RETURNING user_id, first_event_timestamp, last_event_timestamp),
    logged AS (
        INSERT INTO session_changes (user_id, from_time, to_time, regrouped)
        SELECT user_id, first_event_timestamp, last_event_timestamp, false
        FROM closed WHERE {IS_LOGGED})
    SELECT count(*) FROM closed
"""  # noqa: S608 - built of constants


def mark_caught_up(cursor: Cursor, topic: str, partitions: Collection[int]) -> None:
    """Store that these partitions were read to their ends just now; their rows must be locked."""
    cursor.execute(MARK_CAUGHT_UP, {"topic": topic, "partitions": list(partitions)})


def pipeline_watermark(cursor: Cursor, topic: TopicIdentity) -> datetime | None:
    """Return the watermark of all partitions together, or None before the first event."""
    cursor.execute(
        SELECT_PIPELINE_WATERMARK,
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
    """Close sessions whose last event is more than the timeout before the watermark.

    Closes at most MAX_CLOSED_SESSIONS, and returns how many.
    """
    cursor.execute(
        CLOSE_SESSIONS,
        {"watermark": watermark, "timeout": timeout, "limit": MAX_CLOSED_SESSIONS},
    )
    return int(only_row(cursor)[0])
