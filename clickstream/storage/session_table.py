"""Sessions as they are stored: what stands near new events, and what replaces it."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from clickstream.clients.postgres import Connection, Cursor
from clickstream.model.events import COLUMNS as EVENT_COLUMNS
from clickstream.model.events import Event, Key
from clickstream.model.sessions import COLUMNS, Rule, Session
from clickstream.storage.copy_rows import copy, line

EVENTS_AT_ONCE = 5_000

# A session can be touched by events from `low` to `high` (a timeout wider than the events
# themselves). Sessions of a visitor never overlap, so one that began before `low` can reach it
# only if it is the last that did.
NEARBY = """
    SELECT c.number, latest.first_event_timestamp, latest.first_event_id,
           s.session_id, s.first_event_timestamp, s.first_event_id,
           s.last_event_timestamp, s.last_event_id
    FROM unnest(%(numbers)s::integer[], %(users)s::text[],
                %(lows)s::timestamptz[], %(highs)s::timestamptz[])
        AS c (number, user_id, low, high)
    CROSS JOIN LATERAL (
        SELECT first_event_timestamp, first_event_id FROM session_metrics
        WHERE user_id = c.user_id
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1
    ) AS latest
    LEFT JOIN LATERAL (
        (SELECT session_id, first_event_timestamp, first_event_id,
                last_event_timestamp, last_event_id
         FROM session_metrics
         WHERE user_id = c.user_id AND first_event_timestamp < c.low - %(timeout)s
         ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1)
        UNION ALL
        (SELECT session_id, first_event_timestamp, first_event_id,
                last_event_timestamp, last_event_id
         FROM session_metrics
         WHERE user_id = c.user_id
           AND first_event_timestamp BETWEEN c.low - %(timeout)s AND c.high + %(timeout)s)
    ) AS s ON s.last_event_timestamp >= c.low - %(timeout)s
"""
_EVENT_VALUES = ", ".join(
    {"ip_address": "host(e.ip_address)", "properties": "NULL"}.get(name, f"e.{name}")
    for name in EVENT_COLUMNS
)
EVENTS_BETWEEN = f"""
    SELECT i.number, {_EVENT_VALUES}
    FROM unnest(%(numbers)s::integer[], %(users)s::text[],
                %(first_times)s::timestamptz[], %(first_ids)s::uuid[],
                %(last_times)s::timestamptz[], %(last_ids)s::uuid[])
        AS i (number, user_id, first_time, first_id, last_time, last_id)
    JOIN clickstream_events e
      ON e.user_id = i.user_id AND e.event_time BETWEEN i.first_time AND i.last_time
     AND (e.event_time, e.event_id) BETWEEN (i.first_time, i.first_id) AND (i.last_time, i.last_id)
    ORDER BY i.number, e.event_time, e.event_id
"""  # noqa: S608 - built of the column names alone
DELETE = """
    DELETE FROM session_metrics WHERE session_id IN (
        SELECT session_id FROM session_metrics WHERE session_id = ANY (%s::uuid[])
        ORDER BY session_id FOR UPDATE)
"""
_NAMES = ", ".join(COLUMNS)
CREATE_STAGE = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_sessions ON COMMIT DELETE ROWS
    AS SELECT {_NAMES} FROM session_metrics WITH NO DATA
"""  # noqa: S608
UPSERT = f"""
    INSERT INTO session_metrics ({_NAMES}, closed_at)
    SELECT {_NAMES}, CASE WHEN close_reason IS NOT NULL THEN now() END FROM stage_sessions
    ON CONFLICT (session_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])},
        closed_at = excluded.closed_at
"""  # noqa: S608
# Only a search index that exists has to hear of changes; a new one starts from all rows. One that
# nobody has followed for days, as where search was turned off, is filled anew
# (indexer/checkpoint.py).
INDEX_IS_FOLLOWED = "EXISTS (SELECT FROM search_cursor WHERE moved_at > now() - interval '7 days')"
# The follower then makes the index anew.
FORGET_INDEX = "DELETE FROM search_cursor"
NOTE_CHANGES = f"""
    INSERT INTO session_changes (user_id, from_time, to_time, regrouped, removed)
    SELECT user_id, from_time, to_time, regrouped, removed::uuid[]
    FROM unnest(%(users)s::text[], %(froms)s::timestamptz[], %(tos)s::timestamptz[],
                %(regrouped)s::boolean[], %(removed)s::text[])
        AS changes (user_id, from_time, to_time, regrouped, removed)
    WHERE {INDEX_IS_FOLLOWED}
"""  # noqa: S608 - built of constants


class EventRange(NamedTuple):
    """A visitor's events from one key to another, both included."""

    user_id: str
    first: Key
    last: Key


class Stored(NamedTuple):
    """A stored session, as far as it matters for what replaces it."""

    session_id: str
    first: Key
    last: Key


class Change(NamedTuple):
    """What the search index has to follow: the sessions of a visitor from one time to another.

    regrouped: whether events went from one session to another. removed: ids of sessions that
    ceased to exist.
    """

    user_id: str
    from_time: datetime
    to_time: datetime
    regrouped: bool
    removed: Sequence[str] = ()


class Nearby(NamedTuple):
    """What a visitor has stored: where the last session begins, and the sessions nearby."""

    latest: Key
    touching: list[Stored]


def nearby(cursor: Cursor, ranges: Sequence[EventRange], timeout: timedelta) -> list[Nearby | None]:
    """For each event_range the visitor's stored sessions within a timeout of it.

    None for visitors who have no stored session at all.
    """
    cursor.execute(
        NEARBY,
        {
            "numbers": list(range(len(ranges))),
            "users": [event_range.user_id for event_range in ranges],
            "lows": [event_range.first[0] for event_range in ranges],
            "highs": [event_range.last[0] for event_range in ranges],
            "timeout": timeout,
        },
    )
    found: list[Nearby | None] = [None] * len(ranges)
    for number, latest_time, latest_id, session_id, *keys in cursor:
        near = found[number]
        if near is None:
            near = found[number] = Nearby((latest_time, latest_id), [])
        if session_id is not None:
            near.touching.append(Stored(session_id, (keys[0], keys[1]), (keys[2], keys[3])))
    return found


def events_between(
    connection: Connection, ranges: Sequence[EventRange]
) -> Iterator[Iterator[Event]]:
    """The stored events of each event_range, in the order of their keys, without properties.

    In bounded memory, however long a session is: each is to be read before the next one.
    """
    with connection.cursor("ranges") as reader:
        reader.itersize = EVENTS_AT_ONCE
        reader.execute(EVENTS_BETWEEN, _parameters(ranges))
        for _, rows in groupby(reader, key=itemgetter(0)):
            yield (Event(*row[1:]) for row in rows)


def _parameters(ranges: Sequence[EventRange]) -> dict[str, Any]:
    return {
        "numbers": list(range(len(ranges))),
        "users": [event_range.user_id for event_range in ranges],
        "first_times": [event_range.first[0] for event_range in ranges],
        "first_ids": [event_range.first[1] for event_range in ranges],
        "last_times": [event_range.last[0] for event_range in ranges],
        "last_ids": [event_range.last[1] for event_range in ranges],
    }


def delete(cursor: Cursor, session_ids: Iterable[str]) -> None:
    """Delete sessions that no longer exist."""
    gone = sorted(session_ids)
    if gone:
        cursor.execute(DELETE, (gone,))


def upsert(cursor: Cursor, sessions: Iterable[Session], rule: Rule) -> None:
    """Write sessions as they are now. One whose last event ends sessions is closed, others open."""
    rows = sorted((session.row(rule) for session in sessions), key=itemgetter(0))
    if rows:
        cursor.execute(CREATE_STAGE)
        copy(cursor, "stage_sessions", [line(row) for row in rows])
        cursor.execute(UPSERT)


def note_changes(cursor: Cursor, changes: Sequence[Change]) -> None:
    """Tell the search follower what changed beside the sessions of new events."""
    if changes:
        users, froms, tos, regrouped, removed = map(list, zip(*changes, strict=True))
        # PostgreSQL's arrays of arrays are rectangles: each is passed as text.
        texts = ["{" + ",".join(ids) + "}" for ids in removed]
        parameters = {"users": users, "froms": froms, "tos": tos}
        cursor.execute(NOTE_CHANGES, {**parameters, "regrouped": regrouped, "removed": texts})
