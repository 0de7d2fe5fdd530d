"""Removing sessions with their events and documents, and rejected records.

Each function works in the caller's transaction, while consumers run. The number of what it deletes
is added to the counter `removed`, so that the counters still add up.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from clickstream.clients.postgres import Cursor, only_row
from clickstream.storage.change_log import EVENT_DOCUMENT_ID, IS_LOGGED
from clickstream.storage.positions import FORGOTTEN, REMOVED_EVENTS

# Ids in one row of the change log. The indexer reads many rows in one step.
LOGGED_IDS = 100

# In the order of the key, as batches lock them.
LOCK_SESSIONS = """
    SELECT FROM session_metrics WHERE session_id = ANY (%(ids)s::uuid[])
    ORDER BY session_id FOR UPDATE
"""
# Deletes sessions, their events, and the records of their refused documents; logs the documents for
# the indexer, without the visitor. Returns the numbers of sessions and events.
DELETE_SESSIONS = f"""
    WITH sessions AS (
        DELETE FROM session_metrics WHERE session_id = ANY (%(ids)s::uuid[])
        RETURNING session_id, user_id, first_event_timestamp, first_event_id,
                  last_event_timestamp, last_event_id),
    events AS (
        DELETE FROM clickstream_events e USING sessions s
        WHERE e.user_id = s.user_id
          AND e.event_time BETWEEN s.first_event_timestamp AND s.last_event_timestamp
          AND (e.event_time, e.event_id) BETWEEN (s.first_event_timestamp, s.first_event_id)
                                             AND (s.last_event_timestamp, s.last_event_id)
        RETURNING {EVENT_DOCUMENT_ID} AS document_id),
    refused AS (
        DELETE FROM search_refused_documents
        WHERE document_id IN (SELECT document_id FROM events
                              UNION ALL SELECT session_id::text FROM sessions)),
    removed AS (
        SELECT array_agg(session_id) AS session_ids, '{{}}'::text[] AS event_ids
        FROM (SELECT session_id, row_number() OVER () / {LOGGED_IDS} AS part FROM sessions) AS s
        GROUP BY part
        UNION ALL
        SELECT '{{}}', array_agg(document_id)
        FROM (SELECT document_id, row_number() OVER () / {LOGGED_IDS} AS part FROM events) AS e
        GROUP BY part),
    logged AS (
        INSERT INTO session_changes
            (user_id, from_time, to_time, regrouped, removed, removed_events)
        SELECT '', now(), now(), false, session_ids, event_ids FROM removed WHERE {IS_LOGGED})
    SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM events)
"""  # noqa: S608 - built of constants
# Removed events count here, because a row of clickstream_events does not name its partition.
COUNT_REMOVED = """
    INSERT INTO stream_positions AS p (topic, partition, topic_id, removed)
    VALUES (%(topic)s, 0, '', %(number)s)
    ON CONFLICT (topic, partition) DO UPDATE SET removed = p.removed + excluded.removed
"""
_CHOSEN_RECORDS = """
    rejected_events r
    JOIN unnest(%(topic_ids)s::text[], %(partitions)s::integer[], %(offsets)s::bigint[])
        AS chosen (topic_id, partition, "offset")
        USING (topic_id, partition, "offset")
"""
# A batch locks the rows of its partitions before it looks at their rejected records.
LOCK_POSITIONS_OF_RECORDS = f"""
    SELECT FROM stream_positions
    WHERE (topic, partition) IN (SELECT r.topic, partition FROM {_CHOSEN_RECORDS})
    ORDER BY topic, partition FOR UPDATE
"""  # noqa: S608 - built of constants


def rejected_deletion(condition: str) -> str:
    """Return a statement that deletes rejected records, and returns their number by reason.

    It subtracts their number from the counter `rejected` and adds it to `removed`, in the row of
    their partition, or in that of forgotten partitions. condition: on a row of rejected_events. The
    statement has the parameter forgotten, which is FORGOTTEN.
    """
    return f"""
        WITH deleted AS (
            DELETE FROM rejected_events WHERE {condition} RETURNING topic, partition, reason),
        gone AS (
            SELECT coalesce(p.topic, %(forgotten)s) AS topic,
                   CASE WHEN p.topic IS NULL THEN 0 ELSE d.partition END AS partition,
                   count(*) AS number
            FROM deleted d
            LEFT JOIN stream_positions p ON (p.topic, p.partition) = (d.topic, d.partition)
            GROUP BY 1, 2),
        moved AS (
            UPDATE stream_positions AS p
            SET rejected = p.rejected - gone.number, removed = p.removed + gone.number
            FROM gone WHERE (p.topic, p.partition) = (gone.topic, gone.partition))
        SELECT reason, count(*) FROM deleted GROUP BY reason
    """  # noqa: S608 - conditions are constants


DELETE_CHOSEN_RECORDS = rejected_deletion(
    f"""(topic_id, partition, "offset") IN
        (SELECT topic_id, partition, "offset" FROM {_CHOSEN_RECORDS})"""  # noqa: S608
)


class RemovedSessions(NamedTuple):
    """Numbers of sessions and of their events."""

    sessions: int
    events: int


class RejectedKey(NamedTuple):
    """The key of a row of rejected_events."""

    topic_id: str
    partition: int
    offset: int


def remove_sessions(cursor: Cursor, session_ids: Collection[str]) -> RemovedSessions:
    """Delete sessions, each with all its events, and make the indexer delete their documents.

    The caller holds the write lock, shared or alone. A consumer that has one of the sessions in its
    cache must drop the session first: see `write_lock.exclude_consumers`.
    """
    ids = {"ids": list(session_ids)}
    # In a statement of its own, so that the next one sees what was committed while this one waited.
    cursor.execute(LOCK_SESSIONS, ids)
    cursor.execute(DELETE_SESSIONS, ids)
    removed = RemovedSessions(*only_row(cursor))
    if removed.events:
        cursor.execute(COUNT_REMOVED, {"topic": REMOVED_EVENTS, "number": removed.events})
    return removed


def remove_rejected(cursor: Cursor, keys: Sequence[RejectedKey]) -> dict[str, int]:
    """Delete rejected records, and return their number by reason.

    The caller holds the write lock, shared or alone.
    """
    values = {
        "topic_ids": [key.topic_id for key in keys],
        "partitions": [key.partition for key in keys],
        "offsets": [key.offset for key in keys],
        "forgotten": FORGOTTEN,
    }
    cursor.execute(LOCK_POSITIONS_OF_RECORDS, values)
    cursor.execute(DELETE_CHOSEN_RECORDS, values)
    return dict(cursor.fetchall())
