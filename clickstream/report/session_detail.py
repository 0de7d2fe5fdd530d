"""One session in detail: its events in order, why it began and why it ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from clickstream.clients.postgres import Connection, Cursor
from clickstream.durations import format_duration, format_time
from clickstream.errors import UserError
from clickstream.model.sessions import Rule
from clickstream.storage import session_rule
from clickstream.storage.snapshot import Row, fill, rows, snapshot

# A crawler's session can have millions.
SHOWN_EVENTS = 1_000

SESSION = "SELECT * FROM session_metrics WHERE session_id = %(session_id)s"
EVENTS = """
    SELECT event_time, event_id, event_type, page_url, referrer, product_id, search_query,
           price, quantity, order_id, success
    FROM clickstream_events
    WHERE user_id = %(user_id)s
      AND event_time BETWEEN %(first_event_timestamp)s AND %(last_event_timestamp)s
      AND (event_time, event_id) BETWEEN (%(first_event_timestamp)s, %(first_event_id)s)
                                     AND (%(last_event_timestamp)s, %(last_event_id)s)
    ORDER BY event_time, event_id
    LIMIT %(shown)s
"""
BEFORE = """
    SELECT event_time, event_type
    FROM clickstream_events
    WHERE user_id = %(user_id)s
      AND event_time <= %(first_event_timestamp)s
      AND (event_time, event_id) < (%(first_event_timestamp)s, %(first_event_id)s)
    ORDER BY event_time DESC, event_id DESC
    LIMIT 1
"""
AFTER = """
    SELECT event_time, event_type
    FROM clickstream_events
    WHERE user_id = %(user_id)s
      AND event_time >= %(last_event_timestamp)s
      AND (event_time, event_id) > (%(last_event_timestamp)s, %(last_event_id)s)
    ORDER BY event_time, event_id
    LIMIT 1
"""
# The types of the first and the last event.
TYPE = """
    SELECT event_time, event_type
    FROM clickstream_events
    WHERE event_time = %(event_time)s AND event_id = %(event_id)s
"""


@dataclass(frozen=True, slots=True)
class Step:
    """An event of the session."""

    event_time: datetime
    event_id: str
    event_type: str
    page_url: str | None
    referrer: str | None
    product_id: str | None
    search_query: str | None
    price: Decimal | None
    quantity: int | None
    order_id: str | None
    success: bool | None


@dataclass(frozen=True, slots=True)
class Detail:
    """A session. metrics: by column name. events: the first SHOWN_EVENTS of them, in order."""

    metrics: dict[str, Any]
    began: str
    ended: str
    events: list[Step]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An event, as far as the rule looks at it."""

    event_time: datetime
    event_type: str


def session_detail(connection: Connection, session_id: UUID) -> Detail:
    """Read one session and explain its borders. Raises UserError where it does not exist."""
    with snapshot(connection) as cursor:
        found = rows(cursor, SESSION, {"session_id": str(session_id)})
        rule = session_rule.of_tables(cursor)
        if not found or rule is None:
            raise UserError(
                f"there is no session {session_id}; a late event may have moved its beginning, "
                "which changes the id; the report lists visitors, open_sessions the open ones"
            )
        session = found[0]
        before, after = (_neighbour(cursor, query, session) for query in (BEFORE, AFTER))
        first, last = (_own(cursor, session, end) for end in ("first", "last"))
        events = rows(cursor, EVENTS, session | {"shown": SHOWN_EVENTS})
    return Detail(
        metrics=session,
        began=_began(rule, before, first),
        ended=_ended(rule, session, last, after),
        events=[fill(Step, row) for row in events],
    )


def _neighbour(cursor: Cursor, query: str, session: Row) -> Neighbour | None:
    found = rows(cursor, query, session)
    return fill(Neighbour, found[0]) if found else None


def _own(cursor: Cursor, session: Row, end: str) -> Neighbour:
    key = {"event_time": session[f"{end}_event_timestamp"], "event_id": session[f"{end}_event_id"]}
    found = rows(cursor, TYPE, key)
    if not found:
        raise UserError(
            f"event {key['event_id']} of session {session['session_id']} is not stored; "
            "see what else differs with: python summary.py --verify"
        )
    return fill(Neighbour, found[0])


def _began(rule: Rule, before: Neighbour | None, first: Neighbour) -> str:
    if before is None:
        return "first event of the visitor"
    return " and ".join(_borders(rule, before, first))


def _ended(rule: Rule, session: Row, last: Neighbour, after: Neighbour | None) -> str:
    if session["close_reason"] == "end_event":
        status = f"end event {last.event_type}"
    elif session["close_reason"] == "timeout":
        status = f"timeout: no event within {format_duration(rule.timeout)}"
    else:
        status = "still open"
    if session["closed_at"] is not None:
        status += f", closed at {format_time(session['closed_at'])}"
    if after is not None:
        reasons = " and ".join(_borders(rule, last, after))
        status += f"; the visitor's next event begins another session: {reasons}"
    return status


def _borders(rule: Rule, last: Neighbour, first: Neighbour) -> list[str]:
    """What separates two successive events of a visitor into two sessions."""
    gap = first.event_time - last.event_time
    reasons = []
    if gap > rule.timeout:
        reasons.append(f"gap of {_longer(gap, rule.timeout)} > {format_duration(rule.timeout)}")
    if first.event_type in rule.start_events:
        reasons.append(f"start event {first.event_type}")
    if last.event_type in rule.end_events:
        reasons.append(f"after end event {last.event_type}")
    return reasons or ["no reason that the rule knows; see python summary.py --verify"]


def _longer(gap: timedelta, timeout: timedelta) -> str:
    """A gap, exact where rounding would make it look like the timeout."""
    shown = format_duration(gap)
    return shown if shown != format_duration(timeout) else f"{gap.total_seconds():f} s"
