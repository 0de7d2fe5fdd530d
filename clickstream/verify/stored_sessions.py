"""Check of the stored sessions: recompute them from the stored events and compare.

Everything is read in one snapshot, so the check is exact while consumers write.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from time import monotonic
from typing import Any

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.model.sessions import Rule, session_id
from clickstream.storage import session_rule
from clickstream.storage.snapshot import snapshot
from clickstream.verify.differences import Differences, collect, different_fields, value_text

ROWS_AT_ONCE = 10_000

# Sessions are paired by visitor and first event; the session id is checked separately.
DIFFERENCES = """
    SELECT to_jsonb(recomputed)::text, to_jsonb(stored)::text
    FROM recomputed
    FULL JOIN stored USING (user_id, first_event_timestamp, first_event_id)
    WHERE recomputed IS DISTINCT FROM stored
"""
SESSION_IDS = """
    SELECT session_id, user_id, first_event_timestamp, first_event_id FROM session_metrics
"""
COUNTS = """
    SELECT (SELECT count(*) FROM clickstream_events),
           (SELECT count(*) FROM session_metrics),
           (SELECT count(*) FROM rejected_events),
           coalesce(sum(records), 0)::bigint,
           coalesce(sum(duplicates), 0)::bigint,
           coalesce(sum(rejected), 0)::bigint
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


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of the check.

    counts: the rows that were checked. seconds: how long it took. differences: in counters and
    sessions. in_sessions: the number of those that recomputing the sessions would repair.
    """

    counts: RowCounts
    seconds: float
    differences: Differences
    in_sessions: int


def verify_sessions(connection: Connection) -> Verification:
    """Compare the stored sessions with recomputed ones, and the counters with the rows.

    connection: not in autocommit and outside a transaction. Raises UserError if the tables do
    not exist.
    """
    started = monotonic()
    with snapshot(connection) as cursor:
        cursor.execute(COUNTS)
        counts = RowCounts(*only_row(cursor))
        rule = session_rule.of_tables(cursor)
        wrong_counters = _wrong_counters(counts)
        differences = collect(
            chain(
                wrong_counters,
                _wrong_ids(connection),
                _wrong_sessions(connection, cursor, rule) if rule else _without_rule(counts),
            )
        )
    in_sessions = differences.number - len(wrong_counters)
    return Verification(counts, monotonic() - started, differences, in_sessions)


def _wrong_counters(counts: RowCounts) -> list[str]:
    """Check that records read = rows + duplicates + rejected."""
    wrong = []
    stored = counts.events + counts.duplicates + counts.rejected_events
    if counts.records != stored:
        wrong.append(
            f"{counts.records:,} records were read, but {counts.events:,} events, "
            f"{counts.duplicates:,} duplicates and {counts.rejected_events:,} rejected records "
            f"make {stored:,}"
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
    for stored, user_id, first_time, first_id in _stream(connection, SESSION_IDS):
        expected = session_id(user_id, first_time, first_id)
        if stored != expected:
            yield f"session {stored} of visitor {value_text(user_id)} should have the id {expected}"


def _wrong_sessions(connection: Connection, cursor: Cursor, rule: Rule) -> Iterator[str]:
    cursor.execute(session_rule.PREPARE)
    query = session_rule.statement(DIFFERENCES)
    for row in _stream(connection, query, session_rule.parameters(rule)):
        expected, stored = (json.loads(each or "{}", parse_float=Decimal) for each in row)
        yield _difference(expected, stored)


def _stream(
    connection: Connection, query: str, values: dict[str, Any] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query of any size, in bounded memory."""
    with connection.cursor("verify") as reader:
        reader.itersize = ROWS_AT_ONCE
        reader.execute(query, values)
        yield from reader


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
        return f"{name} is stored, but the session rule gives no such session"
    return f"{name}: {different_fields(expected, stored)}"
