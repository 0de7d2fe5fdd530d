"""The proof: what the tables hold is what the session rule says of the stored events.

Everything is read in one snapshot, so it holds while consumers write.
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
from clickstream.untrusted_text import clip

SHOWN_DIFFERENCES = 20
ROWS_AT_ONCE = 10_000
SHOWN_CHARACTERS = 60

# A session is recognised by its visitor and first event: its id is checked on its own.
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
class Counts:
    """Numbers of rows, and the counters that moved with them."""

    events: int
    sessions: int
    rejected_events: int
    records: int
    duplicates: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was checked, in how many seconds, and what differs.

    differences: the first of them as sentences. number: of all of them.
    """

    counts: Counts
    seconds: float
    differences: list[str]
    number: int


def verify(connection: Connection) -> Verdict:
    """Hold the tables against the session rule and against their own counters."""
    started = monotonic()
    with snapshot(connection) as cursor:
        cursor.execute(COUNTS)
        counts = Counts(*only_row(cursor))
        rule = session_rule.of_tables(cursor)
        found = chain(
            _bookkeeping(counts),
            _wrong_ids(connection),
            _wrong_sessions(connection, cursor, rule) if rule else _without_rule(counts),
        )
        shown, number = _first(found)
    return Verdict(counts, monotonic() - started, shown, number)


def _first(differences: Iterator[str]) -> tuple[list[str], int]:
    """The first differences, and the number of all."""
    shown: list[str] = []
    number = 0
    for number, difference in enumerate(differences, 1):
        if number <= SHOWN_DIFFERENCES:
            shown.append(difference)
    return shown, number


def _bookkeeping(counts: Counts) -> Iterator[str]:
    """records read = rows + duplicates + rejected."""
    ends = counts.events + counts.duplicates + counts.rejected_events
    if counts.records != ends:
        yield (
            f"{counts.records:,} records were read, but {counts.events:,} events, "
            f"{counts.duplicates:,} duplicates and {counts.rejected_events:,} rejected records "
            f"make {ends:,}"
        )
    if counts.rejected != counts.rejected_events:
        yield (
            f"{counts.rejected:,} records were counted as rejected, but rejected_events has "
            f"{counts.rejected_events:,} rows"
        )


def _without_rule(counts: Counts) -> Iterator[str]:
    if counts.events or counts.sessions:
        yield "session_rule is empty, so that no rule says what the sessions should be"


def _wrong_ids(connection: Connection) -> Iterator[str]:
    for stored, user_id, first_time, first_id in _stream(connection, SESSION_IDS):
        expected = session_id(user_id, first_time, first_id)
        if stored != expected:
            yield f"session {stored} of visitor {_text(user_id)} should have the id {expected}"


def _wrong_sessions(connection: Connection, cursor: Cursor, rule: Rule) -> Iterator[str]:
    cursor.execute(session_rule.PREPARE)
    query = session_rule.statement(DIFFERENCES)
    for row in _stream(connection, query, session_rule.parameters(rule)):
        expected, stored = (json.loads(each or "{}", parse_float=Decimal) for each in row)
        yield _difference(expected, stored)


def _stream(
    connection: Connection, query: str, values: dict[str, Any] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Rows of a query of any size, in bounded memory."""
    with connection.cursor("report") as reader:
        reader.itersize = ROWS_AT_ONCE
        reader.execute(query, values)
        yield from reader


def _difference(expected: dict[str, Any], stored: dict[str, Any]) -> str:
    """One session, by column; nothing on the side where it does not exist."""
    session = expected or stored
    name = (
        f"the session of visitor {_text(session['user_id'])} that begins at "
        f"{session['first_event_timestamp']} with event {session['first_event_id']}"
    )
    if not stored:
        return f"{name} is missing"
    if not expected:
        return f"{name} is stored, but the rule does not make it"
    wrong = [
        f"{column} is {_text(stored[column])}, not {_text(value)}"
        for column, value in expected.items()
        if stored[column] != value
    ]
    return f"{name}: {'; '.join(wrong)}"


def _text(value: object) -> str:
    shown = str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
    return clip(shown, SHOWN_CHARACTERS)
