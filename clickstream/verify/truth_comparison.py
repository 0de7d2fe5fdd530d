"""Comparison of the tables with a truth file, which has the sessions of a correct consumer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
from psycopg2 import DataError

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.errors import UserError
from clickstream.model.sessions import SESSION_COLUMNS, Rule
from clickstream.plurals import plural
from clickstream.storage import erased_visitors, event_retention, stored_rule
from clickstream.storage.query_rows import stream_rows
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clean
from clickstream.verify.differences import Differences, collect, different_fields
from clickstream.verify.truth_file import TruthReader, TruthTotals
from clickstream.verify.visit_comparison import (
    analyze_true_visits,
    count_unparsed,
    create_true_visits,
    insert_true_visits,
    visit_differences,
)

# The sessions of the truth file, for the comparison.
CREATE_TRUE_SESSIONS = """
    CREATE TEMPORARY TABLE true_sessions ON COMMIT DROP AS
    SELECT * FROM session_metrics WITH NO DATA
"""
# The row type gives times, sums and addresses the form that they have in the table.
INSERT_TRUE_SESSIONS = """
    INSERT INTO true_sessions
    SELECT * FROM jsonb_populate_recordset(NULL::session_metrics, %s::jsonb)
"""
SELECT_TRUE_VISITORS = "SELECT DISTINCT user_id FROM true_sessions"
# The sessions of the truth file that are not kept, because of their time or their visitor. Returns
# their number and that of events.
DELETE_REMOVED_SESSIONS = """
    WITH removed AS (
        DELETE FROM true_sessions
        WHERE last_event_timestamp < %(removed_before)s OR user_id = ANY (%(erased)s)
        RETURNING total_events)
    SELECT count(*), coalesce(sum(total_events), 0)::bigint FROM removed
"""
# Visitors that are in memory at once.
VISITORS_PER_LOOKUP = 10_000
# Metrics that a truth file of an earlier version lacks: they are not compared then.
ADDED_METRICS = ("entry_referrer", "engaged_seconds")
COPY_ADDED_METRICS = """
    UPDATE true_sessions t
    SET entry_referrer = s.entry_referrer, engaged_seconds = s.engaged_seconds
    FROM session_metrics s
    WHERE (s.user_id, s.first_event_timestamp, s.first_event_id)
        = (t.user_id, t.first_event_timestamp, t.first_event_id)
"""
# Without statistics the comparison would be planned for a small table.
ANALYZE_TRUE_SESSIONS = "ANALYZE true_sessions"
# A truth file has neither session ids nor the status.
IGNORED_COLUMNS = ["session_id", "session_duration_minutes", "closed_at", "close_reason", "xid"]
_COMPARED = [name for name in SESSION_COLUMNS if name not in IGNORED_COLUMNS]
# Sessions that differ, by visitor and time; one side is null if it lacks the session.
SELECT_DIFFERENT_SESSIONS = f"""
    SELECT (to_jsonb(t) - %(ignored)s::text[])::text, (to_jsonb(s) - %(ignored)s::text[])::text
    FROM true_sessions t
    FULL JOIN session_metrics s USING (user_id, first_event_timestamp, first_event_id)
    WHERE ({", ".join(f"t.{name}" for name in _COMPARED)})
          IS DISTINCT FROM ({", ".join(f"s.{name}" for name in _COMPARED)})
    ORDER BY user_id, first_event_timestamp
"""  # noqa: S608 - built of column names
COUNT_EVENTS = "SELECT count(*) FROM clickstream_events"
COUNT_DUPLICATES = "SELECT coalesce(sum(duplicates), 0)::bigint FROM stream_positions"
COUNT_REJECTED = "SELECT reason, count(*) FROM rejected_events GROUP BY reason"


@dataclass(frozen=True, slots=True)
class TruthComparison:
    """Result of a comparison with a truth file.

    not_kept: the number of its sessions that are left out, because they are not kept.
    unparsed: the number of sessions whose user agent is not parsed yet.
    """

    path: Path
    differences: Differences
    not_kept: int
    unparsed: int

    def lines(self) -> list[str]:
        """Return the result as lines to print."""
        left_out = f"{self.not_kept:,} {plural(self.not_kept, 'session')}"
        notes = [f"Not compared: {left_out} that retain or erase removes."] if self.not_kept else []
        if self.unparsed:
            agents = f"the user agents of {self.unparsed:,} {plural(self.unparsed, 'session')}"
            notes.append(
                f"Not compared: which of {agents} are bots; they are parsed by: "
                "python -m clickstream user-agents refresh"
            )
        if self.differences.number:
            return [*notes, *self.differences.lines()]
        return [*notes, f"The tables hold exactly what {clean(str(self.path))} says."]


def compare_with_truth(connection: Connection, path: Path) -> TruthComparison:
    """Compare the tables with a truth file, in one snapshot and in bounded memory.

    connection: not in autocommit and outside a transaction. Raises UserError if the file cannot
    be read or the tables do not exist.
    """
    with snapshot(connection, read_only=False) as cursor:
        cursor.execute(CREATE_TRUE_SESSIONS)
        create_true_visits(cursor)
        totals = _load(cursor, path)
        not_kept, events = _leave_out_removed(connection, cursor)
        totals = replace(totals, events=totals.events - events)
        cursor.execute(ANALYZE_TRUE_SESSIONS)
        analyze_true_visits(cursor)
        sentences = chain(
            _rule_difference(totals.rule, stored_rule.read(cursor)),
            _count_differences(cursor, totals),
            _session_differences(connection),
            visit_differences(connection),
        )
        return TruthComparison(path, collect(sentences), not_kept, count_unparsed(cursor))


def _load(cursor: Cursor, path: Path) -> TruthTotals:
    """Copy the sessions of a truth file into true_sessions, and return its totals."""
    try:
        with path.open("rb") as file:
            truth = TruthReader(file, str(path))
            has_added = False
            for sessions in truth.sessions():
                has_added = has_added or any(ADDED_METRICS[0] in session for session in sessions)
                text = orjson.dumps(sessions).decode()
                cursor.execute(INSERT_TRUE_SESSIONS, [text])
                insert_true_visits(cursor, text)
            if not has_added:
                cursor.execute(COPY_ADDED_METRICS)
            return truth.totals()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check --compare") from None
    except (DataError, orjson.JSONEncodeError):
        raise UserError(
            f"{path} has a session whose values do not fit the columns of session_metrics; "
            "send the events and write the file again with: python producer.py --truth FILE"
        ) from None


def _leave_out_removed(connection: Connection, cursor: Cursor) -> tuple[int, int]:
    """Delete the true sessions that are not kept; return the numbers of these and their events."""
    limits = event_retention.read(cursor)
    removed = {
        "removed_before": limits and limits.removed_before,
        "erased": list(_erased_visitors(connection, cursor)),
    }
    cursor.execute(DELETE_REMOVED_SESSIONS, removed)
    sessions, events = only_row(cursor)
    return sessions, events


def _erased_visitors(connection: Connection, cursor: Cursor) -> Iterator[str]:
    """Yield the visitors of the truth file who were erased."""
    keys = erased_visitors.keys(cursor)
    if keys:
        visitors = (each for (each,) in stream_rows(connection, SELECT_TRUE_VISITORS))
        while part := list(islice(visitors, VISITORS_PER_LOOKUP)):
            yield from erased_visitors.find(cursor, keys, part)


def _rule_difference(truth: Rule, stored: Rule | None) -> Iterator[str]:
    if stored is not None and stored != truth:
        yield (
            f"session rule: the truth follows {_rule_text(truth)}, the tables {_rule_text(stored)}"
        )


def _rule_text(rule: Rule) -> str:
    parts = [f"a timeout of {int(rule.timeout.total_seconds())} s"]
    parts += [f"starts at {', '.join(sorted(rule.start_events))}"] if rule.start_events else []
    parts += [f"ends at {', '.join(sorted(rule.end_events))}"] if rule.end_events else []
    return " with ".join(parts)


def _count_differences(cursor: Cursor, truth: TruthTotals) -> Iterator[str]:
    events, duplicates = _count(cursor, COUNT_EVENTS), _count(cursor, COUNT_DUPLICATES)
    cursor.execute(COUNT_REJECTED)
    rejected = dict(cursor.fetchall())
    if events != truth.events:
        yield _count_text("events", truth.events, events) + _unknown_events(events - truth.events)
    if duplicates != truth.duplicates:
        yield _count_text("duplicates", truth.duplicates, duplicates)
    for reason in sorted({*rejected, *truth.rejected}):
        expected, found = truth.rejected.get(reason, 0), rejected.get(reason, 0)
        if expected != found:
            yield _count_text(f"rejected as {reason}", expected, found)


def _count(cursor: Cursor, query: str) -> int:
    cursor.execute(query)
    return int(only_row(cursor)[0])


def _count_text(name: str, expected: int, found: int) -> str:
    return f"{name}: {expected:,} expected, {found:,} found"


def _unknown_events(number: int) -> str:
    if number <= 0:
        return ""
    noun = "event" if number == 1 else "events"
    return f": the database also has {number:,} {noun} that the truth file does not count"


def _session_differences(connection: Connection) -> Iterator[str]:
    values = {"ignored": IGNORED_COLUMNS}
    for row in stream_rows(connection, SELECT_DIFFERENT_SESSIONS, values):
        yield _session_difference(*(json.loads(each or "{}", parse_float=Decimal) for each in row))


def _session_difference(truth: dict[str, Any], stored: dict[str, Any]) -> str:
    """Describe the difference of one session; a side is empty if it does not have the session."""
    session = truth or stored
    name = f"session of {session['user_id']} from {session['first_event_timestamp']}"
    if not stored:
        return f"{name} to {session['last_event_timestamp']}: missing"
    if not truth:
        return f"{name} to {session['last_event_timestamp']}: not in the truth"
    return f"{name}: {different_fields(truth, stored)}"
