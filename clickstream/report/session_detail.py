"""One session: its events in order, why it began and why it ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from clickstream.clients.postgres import Connection, Cursor
from clickstream.durations import format_duration, format_time
from clickstream.errors import UserError
from clickstream.model.sessions import Rule
from clickstream.storage import stored_rule
from clickstream.storage.query_rows import Row, select_as, select_rows
from clickstream.storage.snapshot import snapshot

# The session of a crawler can have millions of events.
SHOWN_SESSION_EVENTS = 1_000

# The session with this id.
SELECT_SESSION = "SELECT * FROM session_metrics WHERE session_id = %(session_id)s"
# The first events of the session, in order.
SELECT_SESSION_EVENTS = """
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
# The visitor's last event before the session.
SELECT_EVENT_BEFORE = """
    SELECT event_time, event_type
    FROM clickstream_events
    WHERE user_id = %(user_id)s
      AND event_time <= %(first_event_timestamp)s
      AND (event_time, event_id) < (%(first_event_timestamp)s, %(first_event_id)s)
    ORDER BY event_time DESC, event_id DESC
    LIMIT 1
"""
# The visitor's first event after the session.
SELECT_EVENT_AFTER = """
    SELECT event_time, event_type
    FROM clickstream_events
    WHERE user_id = %(user_id)s
      AND event_time >= %(last_event_timestamp)s
      AND (event_time, event_id) > (%(last_event_timestamp)s, %(last_event_id)s)
    ORDER BY event_time, event_id
    LIMIT 1
"""
# The first or the last event of the session.
SELECT_EVENT = """
    SELECT event_time, event_type
    FROM clickstream_events
    WHERE event_time = %(event_time)s AND event_id = %(event_id)s
"""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Event of the session, with the fields that are shown."""

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
class SessionDetail:
    """A session with its first events, and the reasons why it began and ended.

    time_zone: in which times are shown. metrics: by column name. events: at most
    SHOWN_SESSION_EVENTS, in order.
    """

    time_zone: ZoneInfo
    metrics: dict[str, Any]
    began: str
    ended: str
    events: list[SessionEvent]


@dataclass(frozen=True, slots=True)
class RuleEvent:
    """The fields of an event that the session rule uses."""

    event_time: datetime
    event_type: str


def session_detail(connection: Connection, session_id: UUID, zone: ZoneInfo) -> SessionDetail:
    """Read one session and explain why it began and ended.

    connection: not in autocommit. zone: in which times are shown. Raises UserError if there is no
    such session.
    """
    with snapshot(connection) as cursor:
        found = select_rows(cursor, SELECT_SESSION, {"session_id": str(session_id)})
        rule = stored_rule.read(cursor)
        if not found or rule is None:
            raise UserError(
                f"there is no session {session_id}; a late event may have moved its beginning, "
                "which changes the id; session_metrics has the ids of all sessions"
            )
        session = found[0]
        del session["xid"]  # for consumers alone
        before = _neighbour(cursor, SELECT_EVENT_BEFORE, session)
        first = _border_event(cursor, session, "first")
        last = _border_event(cursor, session, "last")
        after = _neighbour(cursor, SELECT_EVENT_AFTER, session)
        events = select_as(
            SessionEvent, cursor, SELECT_SESSION_EVENTS, session | {"shown": SHOWN_SESSION_EVENTS}
        )
    return SessionDetail(
        time_zone=zone,
        metrics=session,
        began=_began(rule, before, first),
        ended=_ended(rule, session, last, after, zone),
        events=events,
    )


def _neighbour(cursor: Cursor, query: str, session: Row) -> RuleEvent | None:
    found = select_as(RuleEvent, cursor, query, session)
    return found[0] if found else None


def _border_event(cursor: Cursor, session: Row, end: str) -> RuleEvent:
    """Read the first or the last event of a session."""
    key = {"event_time": session[f"{end}_event_timestamp"], "event_id": session[f"{end}_event_id"]}
    found = select_as(RuleEvent, cursor, SELECT_EVENT, key)
    if not found:
        raise UserError(
            f"event {key['event_id']} of session {session['session_id']} is not stored; "
            "look for other differences with: python summary.py --verify"
        )
    return found[0]


def _began(rule: Rule, before: RuleEvent | None, first: RuleEvent) -> str:
    if before is None:
        return "first event of the visitor"
    return " and ".join(_split_reasons(rule, before, first))


def _ended(
    rule: Rule, session: Row, last: RuleEvent, after: RuleEvent | None, zone: ZoneInfo
) -> str:
    if session["close_reason"] == "end_event":
        status = f"end event {last.event_type}"
    elif session["close_reason"] == "timeout":
        status = f"timeout: no event within {format_duration(rule.timeout)}"
    else:
        status = "still open"
    if session["closed_at"] is not None:
        status += f", closed at {format_time(session['closed_at'], zone)}"
    if after is not None:
        reasons = " and ".join(_split_reasons(rule, last, after))
        status += f"; the visitor's next event begins another session: {reasons}"
    return status


def _split_reasons(rule: Rule, last: RuleEvent, first: RuleEvent) -> list[str]:
    """Return the reasons why two consecutive events of a visitor are in two sessions."""
    gap = first.event_time - last.event_time
    reasons = []
    if gap > rule.timeout:
        reasons.append(f"gap of {_gap_text(gap, rule.timeout)} > {format_duration(rule.timeout)}")
    if first.event_type in rule.start_events:
        reasons.append(f"start event {first.event_type}")
    if last.event_type in rule.end_events:
        reasons.append(f"after end event {last.event_type}")
    return reasons or ["not explained by the session rule; run: python summary.py --verify"]


def _gap_text(gap: timedelta, timeout: timedelta) -> str:
    """Show a gap, exactly if rounding would make it equal to the timeout."""
    shown = format_duration(gap)
    return shown if shown != format_duration(timeout) else f"{gap.total_seconds():f} s"
