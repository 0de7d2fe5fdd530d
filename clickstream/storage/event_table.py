"""The table clickstream_events: inserting events once, and reading ranges of them.

The table's key is (event_time, event_id). COPY inserts new rows. It cannot skip rows that are
stored already: if there are some, it fills a temporary table from which the others are inserted.
"""

import logging
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import errors
from psycopg2.extras import execute_values

from clickstream.clients.postgres import Connection, Cursor
from clickstream.errors import first_line
from clickstream.model.events import EVENT_COLUMNS, Event, Key
from clickstream.storage.copy_rows import copy

logger = logging.getLogger(__name__)

# Rows of a server-side cursor that are in memory at once.
FETCHED_EVENTS = 5_000

# Two records with the same key are the same event if these columns are equal too; else they are
# two events in conflict.
IDENTITY_COLUMNS = ("user_id", "order_id", "product_id", "price", "quantity")

_COLUMN_LIST = ", ".join(EVENT_COLUMNS)
# Rows of schema versions 1 and 2 can have empty texts, which are read as NULL.
_IDENTITY = ", ".join(
    {"order_id": "nullif(e.order_id, '')", "product_id": "nullif(e.product_id, '')"}.get(
        name, f"e.{name}"
    )
    for name in IDENTITY_COLUMNS
)
EVENTS_AND_COLUMNS = f"clickstream_events ({_COLUMN_LIST})"
EMPTY_STAGE_EVENTS = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_events ON COMMIT DELETE ROWS
    AS SELECT {_COLUMN_LIST} FROM clickstream_events WITH NO DATA;
    DELETE FROM stage_events
"""  # noqa: S608 - built of the column names alone
# Lines are copied in the order of the key, and a fresh temporary table is read in that order: two
# consumers never wait for each other's rows in opposite orders.
INSERT_NEW_EVENTS = f"""
    INSERT INTO clickstream_events ({_COLUMN_LIST}) SELECT {_COLUMN_LIST} FROM stage_events
    ON CONFLICT DO NOTHING
"""  # noqa: S608
# Without the temporary table: rows deleted from it stay in its file until the commit, and would
# slow down each of the many statements that look for refused events.
INSERT_VALUES = f"""
    INSERT INTO clickstream_events ({_COLUMN_LIST}) VALUES %s
    ON CONFLICT DO NOTHING
    RETURNING event_time, event_id
"""  # noqa: S608
SELECT_STORED_BEFORE = f"""
    SELECT s.event_time, s.event_id, {_IDENTITY}
    FROM stage_events s JOIN clickstream_events e USING (event_time, event_id)
    -- In a database restored into another cluster, an old row may have this transaction's xid.
    WHERE (e.xid, e.stored_at) <> (pg_current_xact_id(), now())
"""  # noqa: S608
# The temporary table cannot hold an event that PostgreSQL refuses, but its key is valid.
SELECT_IDENTITIES = f"""
    SELECT e.event_time, e.event_id, {_IDENTITY}
    FROM unnest(%(times)s::timestamptz[], %(ids)s::uuid[]) AS k (event_time, event_id)
    JOIN clickstream_events e USING (event_time, event_id)
"""  # noqa: S608
_EVENT_VALUES = ", ".join(
    {"ip_address": "host(e.ip_address)", "properties": "NULL", "repaired": "NULL"}.get(
        name, f"e.{name}"
    )
    for name in EVENT_COLUMNS
)
SELECT_EVENT_RANGES = f"""
    SELECT r.number, {_EVENT_VALUES}
    FROM unnest(%(numbers)s::integer[], %(users)s::text[],
                %(first_times)s::timestamptz[], %(first_ids)s::uuid[],
                %(last_times)s::timestamptz[], %(last_ids)s::uuid[])
        AS r (number, user_id, first_time, first_id, last_time, last_id)
    JOIN clickstream_events e
      ON e.user_id = r.user_id AND e.event_time BETWEEN r.first_time AND r.last_time
     AND (e.event_time, e.event_id) BETWEEN (r.first_time, r.first_id) AND (r.last_time, r.last_id)
    ORDER BY r.number, e.event_time, e.event_id
"""  # noqa: S608

Identity = tuple[Any, ...]

# The same as the property `key` of an event, but in C.
key_of = itemgetter(EVENT_COLUMNS.index("event_time"), EVENT_COLUMNS.index("event_id"))


class EventRange(NamedTuple):
    """A visitor's events from one key to another, both included."""

    user_id: str
    first: Key
    last: Key


@dataclass(slots=True)
class Insertion:
    """The result of inserting events.

    new: the inserted events, in the order of their keys.
    stored_before: for each other key that was stored already, the identity of the stored event.
    refused: the events whose content PostgreSQL refuses, with its reasons.
    """

    new: list[Event] = field(default_factory=list)
    stored_before: dict[Key, Identity] = field(default_factory=dict)
    refused: dict[Event, str] = field(default_factory=dict)

    def stored_identity(self, key: Key) -> Identity | None:
        """Return the identity of the event with this key, or None if none is stored."""
        index = bisect_left(self.new, key, key=key_of)
        if index < len(self.new) and self.new[index].key == key:
            return identity(self.new[index])
        return self.stored_before.get(key)


def identity(event: Event) -> Identity:
    """Return the values of IDENTITY_COLUMNS."""
    return tuple(getattr(event, name) for name in IDENTITY_COLUMNS)


def insert(cursor: Cursor, events: Iterable[Event], *, some_are_stored: bool = False) -> Insertion:
    """Insert those of the events whose keys are not stored yet, in the order of their keys.

    Of events with one key, the first that PostgreSQL accepts is inserted.
    some_are_stored: True if keys are probably stored, or appear twice; it only changes the time
    that this takes.
    """
    insertion = Insertion()
    if in_order := sorted(events, key=key_of):
        insert_all = _insert_others if some_are_stored else _insert_all
        _insert_part(cursor, in_order, insertion, insert_all)
    if insertion.refused:
        keys = [event.key for event in insertion.refused]
        insertion.stored_before |= read_identities(cursor, keys)
    return insertion


def read_identities(cursor: Cursor, keys: Collection[Key]) -> dict[Key, Identity]:
    """Return the identities of the stored events among keys."""
    values = {"times": [time for time, _ in keys], "ids": [event_id for _, event_id in keys]}
    cursor.execute(SELECT_IDENTITIES, values)
    return _identities(cursor)


def _insert_part(
    cursor: Cursor,
    events: list[Event],
    insertion: Insertion,
    insert_all: Callable[[Cursor, list[Event]], Insertion],
) -> None:
    """Insert events; if PostgreSQL refuses the content of one, find it by bisection.

    events: in the order of their keys. insert_all: inserts all events that are not stored, or none.
    """
    cursor.execute("SAVEPOINT insert_events")
    try:
        inserted = insert_all(cursor, events)
    except psycopg2.Error as error:
        if not is_refusal(error):
            raise
        # ROLLBACK TO keeps the savepoint: without RELEASE, savepoints would nest ever deeper.
        cursor.execute("ROLLBACK TO SAVEPOINT insert_events; RELEASE SAVEPOINT insert_events")
        if len(events) == 1:
            insertion.refused[events[0]] = first_line(error)
            return
        if insert_all is not _insert_few:
            logger.warning(
                "PostgreSQL refuses some of %d events (%s): inserting them in smaller parts",
                len(events),
                first_line(error),
            )
        middle = len(events) // 2
        _insert_part(cursor, events[:middle], insertion, _insert_few)
        _insert_part(cursor, events[middle:], insertion, _insert_few)
    else:
        cursor.execute("RELEASE SAVEPOINT insert_events")
        insertion.new += inserted.new
        insertion.stored_before |= inserted.stored_before


def is_refusal(error: psycopg2.Error) -> bool:
    """Return True if PostgreSQL refused the data, False for an outage.

    Refusals are the SQLSTATEs 22xxx, 23502, 23514 and 54xxx.
    """
    code = error.pgcode or ""
    return code.startswith(("22", "54")) or code in {"23502", "23514"}


def _insert_all(cursor: Cursor, events: list[Event]) -> Insertion:
    """Insert events that are probably all new; none if PostgreSQL refuses one."""
    try:
        copy(cursor, EVENTS_AND_COLUMNS, map(copied_values, events))
    except errors.UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT insert_events")
        return _insert_others(cursor, events)
    return Insertion(events)


def _insert_others(cursor: Cursor, events: list[Event]) -> Insertion:
    """Insert the events that are not stored; none if PostgreSQL refuses one."""
    cursor.execute(EMPTY_STAGE_EVENTS)
    copy(cursor, "stage_events", map(copied_values, events))
    cursor.execute(INSERT_NEW_EVENTS)
    if cursor.rowcount == len(events):
        return Insertion(events)
    cursor.execute(SELECT_STORED_BEFORE)
    stored_before = _identities(cursor)
    new = _first_of_each_key(event for event in events if event.key not in stored_before)
    return Insertion(new, stored_before)


def copied_values(event: Event) -> Sequence[object]:
    """Return the values of an event for COPY; the names in an array need no quotes."""
    return event if event.repaired is None else (*event[:-1], f"{{{','.join(event.repaired)}}}")


def _insert_few(cursor: Cursor, events: list[Event]) -> Insertion:
    """Do the same as `_insert_others` without a temporary table: slower for many events."""
    rows = [[list(value) if type(value) is tuple else value for value in event] for event in events]
    keys = set(execute_values(cursor, INSERT_VALUES, rows, page_size=len(rows), fetch=True))
    new = _first_of_each_key(event for event in events if event.key in keys)
    others = [event.key for event in events if event.key not in keys]
    return Insertion(new, read_identities(cursor, others) if others else {})


def _first_of_each_key(events: Iterable[Event]) -> list[Event]:
    """Return the first event with each key. events: in the order of their keys."""
    return [next(same_key) for _, same_key in groupby(events, key=key_of)]


def _identities(cursor: Cursor) -> dict[Key, Identity]:
    return {(time, event_id): tuple(values) for time, event_id, *values in cursor}


def read_ranges(connection: Connection, ranges: Sequence[EventRange]) -> Iterator[Iterator[Event]]:
    """Yield the stored events of each range, in the order of their keys, without properties.

    Memory is bounded, however long a range is: read the events of one before asking for the next.
    """
    with connection.cursor("ranges") as reader:
        reader.itersize = FETCHED_EVENTS
        reader.execute(
            SELECT_EVENT_RANGES,
            {
                "numbers": list(range(len(ranges))),
                "users": [event_range.user_id for event_range in ranges],
                "first_times": [event_range.first[0] for event_range in ranges],
                "first_ids": [event_range.first[1] for event_range in ranges],
                "last_times": [event_range.last[0] for event_range in ranges],
                "last_ids": [event_range.last[1] for event_range in ranges],
            },
        )
        for _, rows in groupby(reader, key=itemgetter(0)):
            yield (Event(*row[1:]) for row in rows)
