"""Typical first queries on the tables and views."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.services.databases import Query
from tests.services.records import START, event, send
from tests.services.scripts import RunScript

LATEST_SESSIONS = """
    SELECT user_id, total_events, unique_pages_count, products_viewed_count, total_revenue,
           session_duration_minutes, last_event_timestamp
    FROM session_metrics
    ORDER BY last_event_timestamp DESC
    LIMIT 2
"""
TOTALS = """
    SELECT count(*) AS sessions, avg(total_events) AS events_per_session,
           sum(total_revenue) AS revenue, avg(session_duration_minutes) AS minutes_per_session
    FROM session_metrics
"""
EVENTS_OF_SESSIONS = """
    SELECT user_id, session_id = (SELECT session_id FROM session_metrics s
                                  WHERE s.user_id = e.user_id ORDER BY first_event_timestamp
                                  LIMIT 1) AS of_first_session, count(*)
    FROM events_with_session e GROUP BY 1, 2 ORDER BY 1, 2
"""
FUNNEL = "SELECT event_type, sessions FROM conversion_funnel ORDER BY step"
HOURS = "SELECT hour, events, visitors, revenue FROM hourly_traffic ORDER BY hour"
OPEN = "SELECT session_id FROM open_sessions"
NOT_CLOSED = "SELECT session_id FROM session_metrics WHERE closed_at IS NULL"


@pytest.fixture
def shop(environment: dict[str, str], run_script: RunScript) -> None:
    """Store three sessions of two visitors: a purchase of two lines, a bounce, and two pages."""
    events: list[Any] = [
        event("buyer", 0, page_url="/", product_id="p1"),
        event("buyer", 30, "add_to_cart", page_url="/p1", product_id="p1"),
        event("buyer", 90, "purchase", price=19.99, quantity=2, order_id="o1", product_id="p1"),
        event("buyer", 90, "purchase", price=0.02, order_id="o1", product_id="p2"),
        event("buyer", 7200, page_url="/"),
        event("looker", 3600, page_url="/a"),
        event("looker", 3720, page_url="/b", product_id="p2"),
    ]
    send(environment, events)
    assert run_script("consumer.py", "--drain").returncode == 0


@pytest.mark.usefixtures("shop")
def test_session_metrics_has_the_metrics_of_each_session_and_can_be_summed(query: Query) -> None:
    assert query(LATEST_SESSIONS) == [
        ("buyer", 1, 1, 0, 0, 0.0, _at(7200)),
        ("looker", 2, 2, 1, 0, 2.0, _at(3720)),
    ]
    ((sessions, events, revenue, minutes),) = query(TOTALS)
    assert (sessions, revenue) == (3, Decimal("40.00"))
    assert events == pytest.approx(Decimal(7) / 3)
    assert minutes == pytest.approx((1.5 + 0 + 2) / 3)


@pytest.mark.usefixtures("shop")
def test_the_views_show_events_with_sessions_the_funnel_hours_and_open_sessions(
    query: Query,
) -> None:
    assert query(EVENTS_OF_SESSIONS) == [
        ("buyer", False, 1), ("buyer", True, 4), ("looker", True, 2),
    ]  # fmt: skip
    assert query(FUNNEL) == [("page_view", 3), ("add_to_cart", 1), ("purchase", 1)]
    assert query(HOURS) == [
        (_at(0), 4, 1, Decimal("40.00")), (_at(3600), 2, 1, 0), (_at(7200), 1, 1, 0),
    ]  # fmt: skip
    assert sorted(query(OPEN)) == sorted(query(NOT_CLOSED)) != []


def _at(seconds: int) -> Any:
    return START + timedelta(seconds=seconds)
