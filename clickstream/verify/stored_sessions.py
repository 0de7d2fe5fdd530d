"""Check of the stored sessions: recompute them from the stored events and compare.

Everything is read in one snapshot, so the check is exact while consumers write.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.model.sessions import Rule, session_id
from clickstream.plurals import plural
from clickstream.storage import session_rule, stored_rule
from clickstream.storage.query_rows import stream_rows
from clickstream.storage.second_reader import reading_beside
from clickstream.storage.snapshot import snapshot
from clickstream.verify.differences import Differences, collect, different_fields, value_text

# Sessions are paired by visitor and first event; the session id is checked separately.
SELECT_DIFFERENCES = """
    SELECT to_jsonb(recomputed)::text, to_jsonb(stored)::text
    FROM recomputed
    FULL JOIN stored USING (user_id, first_event_timestamp, first_event_id)
    WHERE recomputed IS DISTINCT FROM stored
"""
# The id of each session, and the values that it is computed from.
SELECT_SESSION_IDS = """
    SELECT session_id, user_id, first_event_timestamp, first_event_id FROM session_metrics
"""
# Rows in the tables, and the counters of all partitions.
SELECT_COUNTS = """
    SELECT (SELECT count(*) FROM clickstream_events),
           (SELECT count(*) FROM session_metrics),
           (SELECT count(*) FROM rejected_events),
           coalesce(sum(records), 0)::bigint,
           coalesce(sum(duplicates), 0)::bigint,
           coalesce(sum(rejected), 0)::bigint,
           coalesce(sum(removed), 0)::bigint
    FROM stream_positions
"""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Numbers of rows in the tables, and the counters of stream_positions."""

    events: int
    sessions: int
    rejected_events: int
    records: int
    duplicates: int
    rejected: int
    removed: int


@dataclass(frozen=True, slots=True)
class SessionVerification:
    """Result of the check.

    counts: the rows that were checked. in_sessions: the number of differences that recomputing
    the sessions would repair; the others are in the counters.
    """

    counts: RowCounts
    differences: Differences
    in_sessions: int

    def lines(self, seconds: float) -> list[str]:
        """Return the result as lines to print. seconds: how long the check took."""
        checked = (
            f"{self.counts.events:,} {plural(self.counts.events, 'event')}, "
            f"{self.counts.sessions:,} {plural(self.counts.sessions, 'session')} and "
            f"{self.counts.records:,} {plural(self.counts.records, 'record')} in {seconds:.1f} s"
        )
        if not self.differences.number:
            return [
                f"Verified {checked}: every session follows from the events by the session rule, "
                "every session id follows from its first event, and records read = events + "
                "duplicates + rejected + removed."
            ]
        lines = [*self.differences.lines(), f"Checked {checked}."]
        if self.in_sessions:
            lines.append("To recompute every session: python create_schema.py --rebuild-sessions")
        return lines


def verify_sessions(
    connection: Connection, second: Connection | None = None
) -> SessionVerification:
    """Compare the stored sessions with recomputed ones, and the counters with the rows.

    connection: not in autocommit and outside a transaction. second: another such connection, which
    checks half of the visitors meanwhile. Raises UserError if the tables do not exist.
    """
    with snapshot(connection) as cursor:
        cursor.execute(SELECT_COUNTS)
        counts = RowCounts(*only_row(cursor))
        rule = stored_rule.read(cursor)
        wrong_counters = _wrong_counters(counts)
        differences = collect(
            chain(wrong_counters, _wrong_ids(connection) if rule else _without_rule(counts))
        )
        if rule:
            differences = differences.plus(_all_wrong_sessions(cursor, second, rule))
    in_sessions = differences.number - len(wrong_counters)
    return SessionVerification(counts, differences, in_sessions)


def _all_wrong_sessions(cursor: Cursor, second: Connection | None, rule: Rule) -> Differences:
    if second is None:
        return _wrong_sessions(cursor, session_rule.parameters(rule))
    halves = [session_rule.parameters(rule, negative_hash=half) for half in (True, False)]
    with reading_beside(cursor, second, lambda other: _wrong_sessions(other, halves[0])) as beside:
        return _wrong_sessions(cursor, halves[1]).plus(beside.result())


def _wrong_counters(counts: RowCounts) -> list[str]:
    """Check that records read = rows + duplicates + rejected + removed."""
    wrong = []
    stored = counts.events + counts.duplicates + counts.rejected_events + counts.removed
    if counts.records != stored:
        wrong.append(
            f"{counts.records:,} records were read, but {counts.events:,} events, "
            f"{counts.duplicates:,} duplicates, {counts.rejected_events:,} rejected and "
            f"{counts.removed:,} removed records make {stored:,}"
        )
    if counts.rejected != counts.rejected_events:
        wrong.append(
            f"{counts.rejected:,} records were counted as rejected, but rejected_events has "
            f"{counts.rejected_events:,} rows"
        )
    return wrong


def _without_rule(counts: RowCounts) -> Iterator[str]:
    if counts.events or counts.sessions:
        yield "session_rule is empty, so the sessions cannot be recomputed"


def _wrong_ids(connection: Connection) -> Iterator[str]:
    for stored, user_id, first_time, first_id in stream_rows(connection, SELECT_SESSION_IDS):
        expected = session_id(user_id, first_time, first_id)
        if stored != expected:
            yield f"session {stored} of visitor {value_text(user_id)} should have the id {expected}"


def _wrong_sessions(cursor: Cursor, values: Mapping[str, object]) -> Differences:
    """Check the sessions that the parameters of the session rule select."""
    cursor.execute(session_rule.SET_PLANNER_OPTIONS)
    query = session_rule.statement(SELECT_DIFFERENCES)
    rows = stream_rows(cursor.connection, query, values)
    return collect(_difference(*map(_columns, row)) for row in rows)


def _columns(text: str | None) -> dict[str, Any]:
    """Return the columns of a session as JSON; {} for no session."""
    columns: dict[str, Any] = json.loads(text or "{}", parse_float=Decimal)
    return columns


def _difference(expected: dict[str, Any], stored: dict[str, Any]) -> str:
    """Describe the difference of one session; a side is empty if it does not have the session."""
    session = expected or stored
    name = (
        f"the session of visitor {value_text(session['user_id'])} that begins at "
        f"{session['first_event_timestamp']} with event {session['first_event_id']}"
    )
    if not stored:
        return f"{name} is missing"
    if not expected:
        return f"{name} is stored, but does not follow from the events by the session rule"
    return f"{name}: {different_fields(expected, stored)}"
