"""Looking up stored events, sessions and rejected records by id, key, visitor or offset."""

from dataclasses import dataclass
from datetime import datetime

from clickstream.clients.postgres import Cursor
from clickstream.model.events import Key
from clickstream.storage.query_rows import select_as

MAX_ROWS = 20

# The events with an id, usually one: few events have the same id and different times.
SELECT_EVENTS_BY_ID = """
    SELECT event_id, event_time, event_type, user_id, stored_at, session_id
    FROM events_with_session
    WHERE event_id = %(event_id)s
    ORDER BY event_time
    LIMIT %(limit)s
"""
# The event with a key.
SELECT_EVENT_BY_KEY = """
    SELECT event_id, event_time, event_type, user_id, stored_at, session_id
    FROM events_with_session
    WHERE event_time = %(event_time)s AND event_id = %(event_id)s
"""
# A visitor's latest sessions.
SELECT_VISITOR_SESSIONS = """
    SELECT session_id, first_event_timestamp, total_events, closed_at
    FROM session_metrics
    WHERE user_id = %(user_id)s
    ORDER BY first_event_timestamp DESC, first_event_id DESC
    LIMIT %(limit)s
"""
# How far a partition was read.
SELECT_READ_PART = """
    SELECT topic_id, position
    FROM stream_positions
    WHERE topic = %(topic)s AND partition = %(partition)s
"""
# The rejected records at an offset.
SELECT_REJECTED_AT = """
    SELECT partition, "offset", reason, detail
    FROM rejected_events
    WHERE topic = %(topic)s AND partition = %(partition)s AND "offset" = %(offset)s
    ORDER BY rejected_at DESC
"""
# The newest rejected records whose value contains these bytes.
SELECT_REJECTED_WITH = """
    SELECT partition, "offset", reason, detail
    FROM rejected_events
    WHERE position(%(text)s IN value) > 0
    ORDER BY rejected_at DESC
    LIMIT %(limit)s
"""
# The newest rejected records with this key.
SELECT_REJECTED_OF_VISITOR = """
    SELECT partition, "offset", reason, detail
    FROM rejected_events
    WHERE key = %(key)s
    ORDER BY rejected_at DESC
    LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of clickstream_events, and its session."""

    event_id: str
    event_time: datetime
    event_type: str
    user_id: str
    stored_at: datetime
    session_id: str


@dataclass(frozen=True, slots=True)
class VisitorSession:
    """A session of one visitor."""

    session_id: str
    first_event_timestamp: datetime
    total_events: int
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReadPart:
    """The progress in one partition of the topic with this id.

    position: offset of the next record to read.
    """

    topic_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row of rejected_events, without its bytes."""

    partition: int
    offset: int
    reason: str
    detail: str


def events_by_id(cursor: Cursor, event_id: str) -> list[StoredEvent]:
    """Return the events with this id, at most MAX_ROWS."""
    values = {"event_id": event_id, "limit": MAX_ROWS}
    return select_as(StoredEvent, cursor, SELECT_EVENTS_BY_ID, values)


def events_by_key(cursor: Cursor, key: Key) -> list[StoredEvent]:
    """Return the event with this key, if it is stored."""
    event_time, event_id = key
    values = {"event_time": event_time, "event_id": event_id}
    return select_as(StoredEvent, cursor, SELECT_EVENT_BY_KEY, values)


def sessions_of(cursor: Cursor, user_id: str) -> list[VisitorSession]:
    """Return a visitor's latest sessions, at most MAX_ROWS."""
    values = {"user_id": user_id, "limit": MAX_ROWS}
    return select_as(VisitorSession, cursor, SELECT_VISITOR_SESSIONS, values)


def read_part(cursor: Cursor, topic: str, partition: int) -> ReadPart | None:
    """Return how far a partition was read; None if no consumer has owned it yet."""
    found = select_as(ReadPart, cursor, SELECT_READ_PART, {"topic": topic, "partition": partition})
    return found[0] if found else None


def rejections_at(cursor: Cursor, topic: str, partition: int, offset: int) -> list[Rejection]:
    """Return the rejections of the record at an offset; a recreated topic may have several."""
    values = {"topic": topic, "partition": partition, "offset": offset}
    return select_as(Rejection, cursor, SELECT_REJECTED_AT, values)


def rejections_with(cursor: Cursor, text: str) -> list[Rejection]:
    """Return the newest rejected records whose value contains a text, at most MAX_ROWS."""
    values = {"text": text.encode("utf-8"), "limit": MAX_ROWS}
    return select_as(Rejection, cursor, SELECT_REJECTED_WITH, values)


def rejections_of(cursor: Cursor, user_id: str) -> list[Rejection]:
    """Return the newest rejected records with the visitor as their key, at most MAX_ROWS."""
    values = {"key": user_id.encode("utf-8"), "limit": MAX_ROWS}
    return select_as(Rejection, cursor, SELECT_REJECTED_OF_VISITOR, values)
