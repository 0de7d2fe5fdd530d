"""Comparison of the tables with a truth file, the sessions that a perfect consumer stores."""

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
from psycopg2 import DataError
from psycopg2.extras import execute_values

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.errors import UserError
from clickstream.verify.differences import Differences, collect, different_fields

VERSION = 1
HEAD = {"version", "rule", "events", "duplicates", "rejected", "sessions"}

ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
CREATE_TRUE_SESSIONS = """
    CREATE TEMPORARY TABLE true_sessions ON COMMIT DROP AS
    SELECT * FROM session_metrics WITH NO DATA
"""
# The row type turns times, sums and addresses into what the table has, so that spelling is equal.
ADD_TRUE_SESSIONS = """
    INSERT INTO true_sessions
    SELECT session.*
    FROM (VALUES %s) AS lines (line),
         jsonb_populate_record(NULL::session_metrics, line::jsonb) AS session
"""
ANALYZE_TRUE_SESSIONS = "ANALYZE true_sessions"
# What the truth does not say: ids that the pipeline chooses, and the status.
DIFFERENT_SESSIONS = """
    SELECT truth::text, stored::text
    FROM (
        SELECT coalesce(t.user_id, s.user_id) AS user_id,
               coalesce(t.first_event_timestamp, s.first_event_timestamp) AS start,
               CASE WHEN t.user_id IS NOT NULL THEN to_jsonb(t) - %(unsaid)s::text[] END AS truth,
               CASE WHEN s.user_id IS NOT NULL THEN to_jsonb(s) - %(unsaid)s::text[] END AS stored
        FROM true_sessions t
        FULL JOIN session_metrics s
          ON s.user_id = t.user_id
         AND s.first_event_timestamp = t.first_event_timestamp
         AND s.first_event_id = t.first_event_id
    ) AS joined
    WHERE truth IS DISTINCT FROM stored
    ORDER BY user_id, start
"""
UNSAID = ["session_id", "session_duration_minutes", "closed_at", "close_reason"]
RULE = "SELECT timeout_seconds, start_events, end_events FROM session_rule"
EVENTS = "SELECT count(*) FROM clickstream_events"
DUPLICATES = "SELECT coalesce(sum(duplicates), 0)::bigint FROM stream_positions"
REJECTED = "SELECT reason, count(*) FROM rejected_events GROUP BY reason"


def compare_with_truth(connection: Connection, path: Path) -> Differences:
    """Compare the tables with a truth file, in one snapshot and in bounded memory.

    connection: not in autocommit and outside a transaction. Raises UserError if the file cannot
    be read.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute(ONE_SNAPSHOT)
        try:
            with path.open("rb") as file:
                truth = _head(file.readline(), path)
                cursor.execute(CREATE_TRUE_SESSIONS)
                execute_values(cursor, ADD_TRUE_SESSIONS, _sessions(file, path), page_size=500)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; check --compare") from None
        except (UnicodeDecodeError, DataError):
            raise _no_truth_file(path) from None
        cursor.execute(ANALYZE_TRUE_SESSIONS)
        return collect(chain(_counts(cursor, truth), _session_differences(connection)))


def _head(line: bytes, path: Path) -> dict[str, Any]:
    """What stands before the sessions."""
    try:
        head: dict[str, Any] = orjson.loads(line.rstrip() + b"]}")
        if head.keys() == HEAD and head["version"] == VERSION and head["sessions"] == []:
            return head
    except (ValueError, AttributeError):
        pass
    raise _no_truth_file(path)


def _sessions(lines: Iterator[bytes], path: Path) -> Iterator[tuple[str]]:
    for line in lines:
        session = line.strip().rstrip(b",")
        if session == b"]}":
            return
        yield (session.decode(),)
    raise _no_truth_file(path)


def _no_truth_file(path: Path) -> UserError:
    return UserError(f"{path} is no whole truth file, as python producer.py --truth writes them")


def _counts(cursor: Cursor, truth: dict[str, Any]) -> Iterator[str]:
    """Differences in everything but the sessions."""
    cursor.execute(RULE)
    rule = truth["rule"]
    expected = (rule["timeout_seconds"], rule["start_events"], rule["end_events"])
    for found in cursor.fetchall():
        if found != expected:
            yield f"session rule: the truth follows {_rule(*expected)}, the tables {_rule(*found)}"
    for name, statement in (("events", EVENTS), ("duplicates", DUPLICATES)):
        cursor.execute(statement)
        (number,) = only_row(cursor)
        if number != truth[name]:
            unknown = _unknown_events(number - truth[name]) if name == "events" else ""
            yield f"{name}: {truth[name]:,} expected, {number:,} found{unknown}"
    cursor.execute(REJECTED)
    rejected = dict(cursor.fetchall())
    for reason in sorted({*rejected, *truth["rejected"]}):
        expected, found = truth["rejected"].get(reason, 0), rejected.get(reason, 0)
        if expected != found:
            yield f"rejected as {reason}: {expected:,} expected, {found:,} found"


def _unknown_events(number: int) -> str:
    if number <= 0:
        return ""
    noun = "event" if number == 1 else "events"
    return f": the database also holds {number:,} {noun} that this truth does not know"


def _rule(timeout: int, starts: list[str], ends: list[str]) -> str:
    words = [f"a timeout of {timeout} s"]
    words += [f"starts at {', '.join(starts)}"] if starts else []
    words += [f"ends at {', '.join(ends)}"] if ends else []
    return " with ".join(words)


def _session_differences(connection: Connection) -> Iterator[str]:
    with connection.cursor("compare") as reader:
        reader.execute(DIFFERENT_SESSIONS, {"unsaid": UNSAID})
        for row in reader:
            yield _difference(*(json.loads(each or "{}", parse_float=Decimal) for each in row))


def _difference(truth: dict[str, Any], stored: dict[str, Any]) -> str:
    """Describe the difference of one session; a side is empty if it does not have the session."""
    session = truth or stored
    name = f"session of {session['user_id']} from {session['first_event_timestamp']}"
    if not stored:
        return f"{name} to {session['last_event_timestamp']}: missing"
    if not truth:
        return f"{name} to {session['last_event_timestamp']}: not in the truth"
    return f"{name}: {different_fields(truth, stored)}"
