"""Removing what is older than a number of days: sessions with their events, rejected records.

Everything is done in short transactions while consumers run. After an interruption the tables are
consistent, and the next run continues.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.storage import (
    change_log,
    event_retention,
    removal,
    schema_version,
    stored_rule,
    table_sizes,
    write_lock,
)
from clickstream.storage.event_retention import Retention
from clickstream.storage.removal import RejectedKey
from clickstream.storage.snapshot import snapshot

# The most that one transaction removes. A session is removed in one, however many events it has.
STEP_EVENTS = 5_000
STEP_SESSIONS = 500
STEP_RECORDS = 500

# Numbers of sessions and events, those to be removed and all.
SURVEY_SESSIONS = """
    SELECT count(*) FILTER (WHERE is_old), coalesce(sum(total_events) FILTER (WHERE is_old), 0),
           min(first_event_timestamp) FILTER (WHERE is_old),
           max(last_event_timestamp) FILTER (WHERE is_old),
           count(*), coalesce(sum(total_events), 0)
    FROM (SELECT total_events, first_event_timestamp, last_event_timestamp,
                 last_event_timestamp < %s AS is_old
          FROM session_metrics) AS sessions
"""
# A condition: a rejected record is older, by its time in Kafka or, without one, of its rejection.
_IS_OLD_RECORD = "coalesce(record_timestamp, rejected_at) < %(kept_from)s"
# Numbers of rejected records, those to be removed and all.
SURVEY_REJECTED = f"""
    SELECT count(*) FILTER (WHERE {_IS_OLD_RECORD}), count(*) FROM rejected_events
"""  # noqa: S608 - built of constants
# The next sessions in the order of their first events, which an index has.
SELECT_OLD_SESSIONS = """
    SELECT session_id, first_event_timestamp, total_events FROM session_metrics
    WHERE first_event_timestamp >= %(after)s AND first_event_timestamp < %(before)s
      AND last_event_timestamp < %(before)s
    ORDER BY first_event_timestamp, session_id
    LIMIT %(limit)s
"""
SELECT_OLD_RECORDS = f"""
    SELECT topic_id, partition, "offset" FROM rejected_events
    WHERE (topic_id, partition, "offset") > %(after)s AND {_IS_OLD_RECORD}
    ORDER BY topic_id, partition, "offset"
    LIMIT %(limit)s
"""  # noqa: S608 - built of constants


@dataclass(frozen=True, slots=True)
class RetainReport:
    """Numbers and times of what is removed; the names of the fields are those of the JSON.

    dry_run: True if it would be removed. kept_from: earlier events are not accepted.
    removed_before: sessions that end earlier are removed. first_event, last_event: times of the
    first and last of their events; None if there are none. bytes: about how much they and the
    rejected records take on disk.
    """

    dry_run: bool
    kept_from: datetime
    removed_before: datetime
    sessions: int
    events: int
    first_event: datetime | None
    last_event: datetime | None
    rejected_records: int
    bytes: int


class OldSession(NamedTuple):
    """A row of SELECT_OLD_SESSIONS."""

    session_id: str
    first_time: datetime
    events: int


def survey(connection: Connection, kept_from: datetime) -> RetainReport:
    """Return what `retain` would remove; changes nothing. Raises UserError as `retain` does."""
    with snapshot(connection) as cursor:
        limits = event_retention.plan(cursor, kept_from, stored_rule.require_any(cursor).timeout)
        return _survey(cursor, limits, dry_run=True)


def retain(
    connection: Connection, kept_from: datetime, show: Callable[[RetainReport, int], object]
) -> RetainReport:
    """Remove what is older than kept_from, and return what was removed.

    1. Store the limits, and make every consumer drop its cache: from then on no consumer accepts an
    older event. 2. Remove sessions. 3. Remove rejected records.

    show: called after each step with the report of what is to be removed and the number of sessions
    removed so far. Raises UserError if no consumer has stored a session rule, if the tables are of
    another version, or if somebody writes for longer than a minute.
    """
    limits = _advance(connection, kept_from)
    with snapshot(connection) as cursor:
        found = _survey(cursor, limits, dry_run=False)
    try:
        sessions, events = _remove_sessions(connection, limits, lambda gone: show(found, gone))
        rejected = _remove_rejected(connection, limits)
        with connection, connection.cursor() as cursor:
            write_lock.share_for_step(cursor)
            change_log.prune(cursor)
    except errors.LockNotAvailable:
        raise write_lock.step_refused(
            "wait for it and run this again, which continues where this ended"
        ) from None
    return replace(found, sessions=sessions, events=events, rejected_records=rejected)


def _advance(connection: Connection, kept_from: datetime) -> Retention:
    """Store the limits unless they are stored already, and return them."""
    with connection, connection.cursor() as cursor:
        schema_version.require(cursor)
        limits = event_retention.plan(cursor, kept_from, stored_rule.require_any(cursor).timeout)
        if limits == event_retention.read(cursor):
            return limits
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        limits = event_retention.plan(cursor, kept_from, stored_rule.require_any(cursor).timeout)
        event_retention.replace(cursor, limits)
        return limits


def _survey(cursor: Cursor, limits: Retention, *, dry_run: bool) -> RetainReport:
    cursor.execute(SURVEY_SESSIONS, (limits.removed_before,))
    sessions, events, first, last, all_sessions, all_events = only_row(cursor)
    cursor.execute(SURVEY_REJECTED, limits._asdict())
    rejected, all_rejected = only_row(cursor)
    shares = {
        "session_metrics": (sessions, all_sessions),
        "clickstream_events": (events, all_events),
        "rejected_events": (rejected, all_rejected),
    }
    size = sum(
        table_sizes.table_bytes(cursor, table) * int(number) // int(total)
        for table, (number, total) in shares.items()
        if total
    )
    return RetainReport(
        dry_run, *limits, int(sessions), int(events), first, last, int(rejected), size
    )


def _remove_sessions(
    connection: Connection, limits: Retention, show: Callable[[int], object]
) -> tuple[int, int]:
    """Remove the sessions that ended before the limit; return their number and that of events."""
    sessions = events = 0
    after = datetime.min.replace(tzinfo=limits.kept_from.tzinfo)
    while True:
        try:
            with connection, connection.cursor() as cursor:
                write_lock.share_for_step(cursor)
                chosen = _choose(cursor, after, limits.removed_before)
                if not chosen:
                    return sessions, events
                removed = removal.remove_sessions(cursor, [each.session_id for each in chosen])
        except errors.DeadlockDetected:
            continue  # a deadlock with a batch that touches one of the sessions
        after = chosen[-1].first_time
        sessions, events = sessions + removed.sessions, events + removed.events
        show(sessions)


def _choose(cursor: Cursor, after: datetime, before: datetime) -> list[OldSession]:
    """Return the next sessions, at least one, together of at most STEP_EVENTS events."""
    values = {"after": after, "before": before, "limit": STEP_SESSIONS}
    cursor.execute(SELECT_OLD_SESSIONS, values)
    chosen: list[OldSession] = []
    events = 0
    for session in map(OldSession._make, cursor):
        events += session.events
        if chosen and events > STEP_EVENTS:
            break
        chosen.append(session)
    return chosen


def _remove_rejected(connection: Connection, limits: Retention) -> int:
    """Remove the old rejected records, and return their number."""
    number = 0
    after: tuple[str, int, int] = ("", -1, -1)
    while True:
        with connection, connection.cursor() as cursor:
            write_lock.share_for_step(cursor)
            values = {"after": after, "kept_from": limits.kept_from, "limit": STEP_RECORDS}
            cursor.execute(SELECT_OLD_RECORDS, values)
            keys = [RejectedKey(*row) for row in cursor.fetchall()]
            if not keys:
                return number
            number += sum(removal.remove_rejected(cursor, keys).values())
        after = keys[-1]
