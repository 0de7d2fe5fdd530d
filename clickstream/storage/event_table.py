"""Raw rows: each event stored once, and which of a batch were new.

A duplicate is recognised by (event_time, event_id), the table's key. The rows go through a
temporary table, which COPY fills, because COPY alone cannot skip what is stored already.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg2

from clickstream.clients.postgres import Cursor
from clickstream.errors import first_line
from clickstream.model.events import COLUMNS, Event, Key
from clickstream.storage.copy_rows import copy, line

logger = logging.getLogger(__name__)

_NAMES = ", ".join(COLUMNS)
CREATE_STAGE = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_events ON COMMIT DELETE ROWS
    AS SELECT {_NAMES} FROM clickstream_events WITH NO DATA
"""  # noqa: S608 - built of the column names alone
# Lines are copied in the order of the key, and a fresh temporary table is read in that order:
# two consumers never wait for each other's rows in opposite orders.
INSERT_NEW = f"""
    INSERT INTO clickstream_events ({_NAMES}) SELECT {_NAMES} FROM stage_events
    ON CONFLICT DO NOTHING
"""  # noqa: S608
STORED_BEFORE = """
    SELECT s.event_time, s.event_id, e.user_id
    FROM stage_events s JOIN clickstream_events e USING (event_time, event_id)
    -- After a restore into another cluster, a row's transaction id alone may be this one's.
    WHERE (e.xid, e.stored_at) <> (pg_current_xact_id(), now())
"""
EMPTY_STAGE = "DELETE FROM stage_events"


@dataclass(slots=True)
class Inserted:
    """What became of a batch's events.

    new: in the order of their keys. duplicates: stored before. conflicts: stored before under
    the same key for another visitor, who is named. refused: by PostgreSQL itself, and why.
    """

    new: list[Event] = field(default_factory=list)
    duplicates: set[Key] = field(default_factory=set)
    conflicts: dict[Key, str] = field(default_factory=dict)
    refused: dict[Key, str] = field(default_factory=dict)

    def extend(self, other: "Inserted") -> None:
        """Add what became of further events."""
        self.new += other.new
        self.duplicates |= other.duplicates
        self.conflicts |= other.conflicts
        self.refused |= other.refused


def insert(cursor: Cursor, events: Mapping[Key, Event]) -> Inserted:
    """Store the events that are not stored yet."""
    inserted = Inserted()
    if events:
        cursor.execute(CREATE_STAGE)
        _insert_part(cursor, [events[key] for key in sorted(events)], inserted)
    return inserted


def _insert_part(cursor: Cursor, events: list[Event], inserted: Inserted) -> None:
    """Store events; where PostgreSQL refuses one for its content, find it by bisection."""
    cursor.execute("SAVEPOINT insert_events")
    try:
        part = _insert_all(cursor, events)
    except psycopg2.Error as error:
        if not is_refusal(error):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT insert_events")
        if len(events) == 1:
            inserted.refused[events[0].key] = first_line(error)
            return
        middle = len(events) // 2
        _insert_part(cursor, events[:middle], inserted)
        _insert_part(cursor, events[middle:], inserted)
    else:
        cursor.execute("RELEASE SAVEPOINT insert_events")
        inserted.extend(part)


def is_refusal(error: psycopg2.Error) -> bool:
    """Whether PostgreSQL refused the data (22xxx, 23502, 23514, 54xxx), as opposed to an outage."""
    code = error.pgcode or ""
    return code.startswith(("22", "54")) or code in {"23502", "23514"}


def _insert_all(cursor: Cursor, events: list[Event]) -> Inserted:
    cursor.execute(EMPTY_STAGE)
    copy(cursor, "stage_events", [line(event) for event in events])
    cursor.execute(INSERT_NEW)
    if cursor.rowcount == len(events):
        return Inserted(new=events)
    cursor.execute(STORED_BEFORE)
    stored = {(time, event_id): user_id for time, event_id, user_id in cursor}
    inserted = Inserted()
    for event in events:
        if event.key not in stored:
            inserted.new.append(event)
        elif stored[event.key] == event.user_id:
            inserted.duplicates.add(event.key)
        else:
            inserted.conflicts[event.key] = stored[event.key]
    return inserted
