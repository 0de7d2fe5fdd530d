"""Rejected records tried again: what has become an event moves to where it belongs, once."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg2.extras import execute_batch

from clickstream.admin.rejected import CHOSEN, Choice
from clickstream.clients.postgres import Connection, Cursor
from clickstream.consumer.session_cache import SessionCache
from clickstream.errors import UserError
from clickstream.model.events import Event, InvalidEventError, Key, parse
from clickstream.storage import event_table, positions, session_rule
from clickstream.storage.rejections import CONFLICT

# Whole values are read; each may have a mebibyte.
AT_ONCE = 500

CHOOSE = f"""
    SELECT topic_id, partition, "offset", topic, value
    FROM rejected_events
    WHERE {CHOSEN} AND (topic_id, partition, "offset") > %(after)s
    ORDER BY topic_id, partition, "offset"
    LIMIT %(limit)s
"""  # noqa: S608 - built of constants
EXPLAIN = """
    UPDATE rejected_events SET reason = %s, detail = %s
    WHERE (topic_id, partition, "offset") = (%s, %s, %s)
"""
DELETE = 'DELETE FROM rejected_events WHERE (topic_id, partition, "offset") = (%s, %s, %s)'
COUNT = """
    UPDATE stream_positions SET rejected = rejected - %s, duplicates = duplicates + %s
    WHERE topic = %s AND partition = %s
"""


class Rejected(NamedTuple):
    """A rejected record. The first three fields are its key."""

    topic_id: str
    partition: int
    offset: int
    topic: str
    value: memoryview | None


@dataclass(slots=True)
class Retried:
    """Numbers of records: stored as events, found to be duplicates, rejected as before."""

    stored: int = 0
    duplicates: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Attempt:
    """One chunk: what parses now, and why the rest still does not."""

    events: dict[Key, Event] = field(default_factory=dict)
    origins: dict[Key, Rejected] = field(default_factory=dict)
    duplicates: list[Rejected] = field(default_factory=list)
    refused: list[tuple[Rejected, str, str]] = field(default_factory=list)


def retry(
    connection: Connection, choice: Choice, *, now: datetime, max_future: timedelta
) -> Retried:
    """Try rejected records again, in transactions of AT_ONCE records.

    No consumer writes meanwhile, and all of them drop their caches: a retried event may belong
    into the middle of an open session.
    """
    total = Retried()
    after = ("", -1, -1)
    while True:
        with connection, connection.cursor() as cursor:
            positions.stop_writers(cursor)
            cursor.execute(CHOOSE, {**choice.parameters(), "after": after, "limit": AT_ONCE})
            records = [Rejected(*row) for row in cursor.fetchall()]
            if not records:
                return total
            _retry(cursor, records, now + max_future, total)
            after = records[-1][:3]


def _retry(cursor: Cursor, records: list[Rejected], latest: datetime, total: Retried) -> None:
    rule = session_rule.of_tables(cursor)
    if rule is None:
        raise UserError("no consumer has stored a session rule yet; start one: python consumer.py")
    attempt = _parse(records, latest)
    inserted = event_table.insert(cursor, attempt.events)
    SessionCache(rule).store(cursor, inserted.new)
    attempt.duplicates += [attempt.origins[key] for key in inserted.duplicates]
    attempt.refused += [(attempt.origins[key], *CONFLICT) for key in inserted.conflicts]
    attempt.refused += [
        (attempt.origins[key], "refused_by_postgres", detail)
        for key, detail in inserted.refused.items()
    ]
    stored = [attempt.origins[event.key] for event in inserted.new]
    _account(cursor, stored, attempt)
    total.stored += len(stored)
    total.duplicates += len(attempt.duplicates)
    total.refused += len(attempt.refused)


def _parse(records: list[Rejected], latest: datetime) -> _Attempt:
    attempt = _Attempt()
    for record in records:
        value = None if record.value is None else bytes(record.value)
        origin = (record.topic, record.partition, record.offset)
        try:
            event = parse(value, origin=origin, latest=latest)
        except InvalidEventError as error:
            attempt.refused.append((record, error.reason, error.detail))
            continue
        first = attempt.events.setdefault(event.key, event)
        if first is event:
            attempt.origins[event.key] = record
        elif first.user_id == event.user_id:
            attempt.duplicates.append(record)
        else:
            attempt.refused.append((record, *CONFLICT))
    return attempt


def _account(cursor: Cursor, stored: list[Rejected], attempt: _Attempt) -> None:
    """Delete what moved, say why the rest stays, and keep the counters true."""
    moved = stored + attempt.duplicates
    execute_batch(cursor, DELETE, [record[:3] for record in moved])
    execute_batch(
        cursor,
        EXPLAIN,
        [(reason, detail, *record[:3]) for record, reason, detail in attempt.refused],
    )
    left = Counter((record.topic, record.partition) for record in moved)
    duplicates = Counter((record.topic, record.partition) for record in attempt.duplicates)
    execute_batch(
        cursor,
        COUNT,
        [(number, duplicates[place], *place) for place, number in sorted(left.items())],
    )
