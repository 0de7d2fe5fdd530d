"""One visitor: totals, and the latest sessions."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from clickstream.clients.postgres import Connection
from clickstream.errors import UserError
from clickstream.report.models import SessionSummary
from clickstream.storage.query_rows import select_as, select_row
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clip

SHOWN_SESSIONS = 100
SHOWN_ID_CHARACTERS = 100

# Totals of a visitor's sessions.
SELECT_TOTALS = """
    SELECT count(*) AS sessions, sum(total_events)::bigint AS events,
           sum(orders_count)::bigint AS orders, sum(total_revenue) AS revenue,
           min(first_event_timestamp) AS first_event, max(last_event_timestamp) AS last_event
    FROM session_metrics
    WHERE user_id = %(user_id)s
"""
# The latest sessions of a visitor.
SELECT_LATEST_SESSIONS = """
    SELECT session_id, user_id, last_event_timestamp, session_duration_minutes, total_events,
           orders_count, total_revenue
    FROM session_metrics
    WHERE user_id = %(user_id)s
    ORDER BY first_event_timestamp DESC, first_event_id DESC
    LIMIT %(shown)s
"""


@dataclass(frozen=True, slots=True)
class VisitorDetail:
    """Totals of a visitor, and the latest sessions, at most SHOWN_SESSIONS, the latest first.

    time_zone: in which times are shown.
    """

    user_id: str
    time_zone: ZoneInfo
    sessions: int
    events: int
    orders: int
    revenue: Decimal
    first_event: datetime
    last_event: datetime
    latest_sessions: list[SessionSummary]


def visitor_detail(connection: Connection, user_id: str, zone: ZoneInfo) -> VisitorDetail:
    """Read the sessions of one visitor.

    connection: not in autocommit. zone: in which times are shown. Raises UserError if the visitor
    has none.
    """
    values = {"user_id": user_id, "shown": SHOWN_SESSIONS}
    with snapshot(connection) as cursor:
        totals = select_row(cursor, SELECT_TOTALS, values)
        latest = select_as(SessionSummary, cursor, SELECT_LATEST_SESSIONS, values)
    if not latest:
        raise UserError(
            f'there is no visitor "{clip(user_id, SHOWN_ID_CHARACTERS)}"; give the user_id as it '
            "was sent, in the same case"
        )
    return VisitorDetail(user_id, zone, **totals, latest_sessions=latest)
