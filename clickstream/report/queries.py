"""Queries of the report. Each scans its table at most once."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from clickstream.clients.postgres import Connection, Cursor
from clickstream.durations import since_time
from clickstream.report.chart_figures import read_charts
from clickstream.report.data_quality import read_quality
from clickstream.report.models import (
    EventTypeFigures,
    FunnelStep,
    Overview,
    PageFigures,
    ProductFigures,
    Report,
    ReportedRule,
    RevenueFigures,
    SegmentFigures,
    SessionFigures,
    SessionSummary,
    VisitorFigures,
)
from clickstream.report.source_figures import read_visit_sources
from clickstream.report.traffic_over_time import read_traffic
from clickstream.report.user_agent_figures import read_user_agents
from clickstream.storage.query_rows import Row, as_dataclass, select_as, select_row, select_rows
from clickstream.storage.snapshot import snapshot, snapshot_time
from clickstream.storage.stored_rule import SELECT_RULE

SHOWN_EVENT_TYPES = 20
# Of products, pages, visitors, devices and countries.
TOP_ROWS = 10
# Rows of the latest orders, and of the longest sessions.
LISTED_SESSIONS = 5
# The parameters of the statements that are always the same.
CONSTANTS = {
    "rows": TOP_ROWS,
    "listed": LISTED_SESSIONS,
    "event_types": SHOWN_EVENT_TYPES,
}
FUNNEL_EVENT_TYPES = ("page_view", "add_to_cart", "purchase")

# The most frequent event types; each row repeats the totals over all types.
SELECT_EVENT_TYPES = """
    SELECT event_type, events, events / sum(events) OVER ()::double precision AS share,
           sum(events) OVER ()::bigint AS all_events,
           min(first) OVER () AS all_first_event,
           max(last) OVER () AS all_last_event
    FROM (SELECT event_type, count(*) AS events, min(event_time) AS first, max(event_time) AS last
          FROM clickstream_events
          WHERE event_time >= %(since)s
          GROUP BY event_type) AS types
    ORDER BY events DESC, event_type COLLATE "C"
    LIMIT %(event_types)s
"""
# All figures of sessions, in one pass.
SELECT_SESSION_FIGURES = """
    SELECT count(*) AS sessions,
           count(DISTINCT user_id) AS visitors,
           coalesce(sum(orders_count), 0)::bigint AS orders,
           coalesce(sum(total_revenue), 0) AS revenue,
           count(*) FILTER (WHERE closed_at IS NULL) AS open,
           count(*) FILTER (WHERE close_reason = 'timeout') AS closed_by_timeout,
           count(*) FILTER (WHERE close_reason = 'end_event') AS closed_by_end_event,
           avg(total_events)::double precision AS events_mean,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY total_events) AS events_median,
           max(total_events) AS events_max,
           avg(session_duration_minutes) AS duration_mean,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY session_duration_minutes) AS duration_median,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY session_duration_minutes) AS duration_p95,
           max(session_duration_minutes) AS duration_max,
           avg(is_bounce::integer)::double precision AS bounce_rate,
           count(*) FILTER (WHERE event_type_counts ? 'page_view') AS with_page_view,
           count(*) FILTER (WHERE event_type_counts ? 'add_to_cart') AS with_add_to_cart,
           count(*) FILTER (WHERE event_type_counts ? 'purchase') AS with_purchase
    FROM session_metrics
    WHERE first_event_timestamp >= %(since)s
"""
# The products with the highest revenue; each row repeats the revenue of all repaired lines.
SELECT_TOP_PRODUCTS = """
    SELECT product_id, max(product_category) AS product_category,
           sum(coalesce(quantity, 1))::bigint AS units,
           coalesce(sum(price * coalesce(quantity, 1)), 0) AS revenue,
           coalesce(sum(sum(price * coalesce(quantity, 1))
                        FILTER (WHERE repaired && ARRAY['price', 'quantity'])) OVER (), 0)
               AS all_repaired
    FROM clickstream_events
    WHERE event_type = 'purchase' AND event_time >= %(since)s
    GROUP BY product_id
    ORDER BY revenue DESC, units DESC, product_id
    LIMIT %(rows)s
"""
# The pages with the most views, and how many sessions began and ended on each. Addresses that
# differ only in origin, query or fragment are one page; page_url is the one with the most views.
SELECT_TOP_PAGES = """
    WITH pages AS (
        SELECT page_path(page_url) AS page_path,
               (array_agg(page_url ORDER BY views DESC, events DESC, page_url))[1] AS page_url,
               sum(views)::bigint AS views, sum(events)::bigint AS events
        FROM (SELECT page_url, count(*) FILTER (WHERE event_type = 'page_view') AS views,
                     count(*) AS events
              FROM clickstream_events
              WHERE page_url IS NOT NULL AND event_time >= %(since)s
              GROUP BY page_url) AS addresses
        GROUP BY page_path
        ORDER BY views DESC, events DESC, page_path
        LIMIT %(rows)s),
    landed AS (
        SELECT page_path(page_url) AS page_path,
               sum(sessions)::bigint AS landings
        FROM (SELECT landing_page AS page_url, count(*) AS sessions
              FROM session_metrics WHERE first_event_timestamp >= %(since)s
              GROUP BY landing_page) AS addresses
        GROUP BY page_path),
    left_from AS (
        SELECT page_path(page_url) AS page_path,
               sum(sessions)::bigint AS exits
        FROM (SELECT exit_page AS page_url, count(*) AS sessions
              FROM session_metrics WHERE first_event_timestamp >= %(since)s
              GROUP BY exit_page) AS addresses
        GROUP BY page_path)
    SELECT page_path, page_url, views, events,
           coalesce(landings, 0) AS landings, coalesce(exits, 0) AS exits
    FROM pages LEFT JOIN landed USING (page_path) LEFT JOIN left_from USING (page_path)
    ORDER BY views DESC, events DESC, page_path
"""
# The visitors with the most events.
SELECT_TOP_VISITORS = """
    SELECT user_id, count(*) AS sessions, sum(total_events)::bigint AS events,
           sum(total_revenue) AS revenue, max(last_event_timestamp) AS last_seen
    FROM session_metrics
    WHERE first_event_timestamp >= %(since)s
    GROUP BY user_id
    ORDER BY events DESC, sessions DESC, user_id
    LIMIT %(rows)s
"""
# The latest sessions with an order.
SELECT_LATEST_ORDERS = """
    SELECT session_id, user_id, last_event_timestamp, session_duration_minutes, total_events,
           orders_count, total_revenue
    FROM session_metrics
    WHERE orders_count > 0 AND first_event_timestamp >= %(since)s
    ORDER BY last_event_timestamp DESC, session_id
    LIMIT %(listed)s
"""
# The longest sessions.
SELECT_LONGEST_SESSIONS = """
    SELECT session_id, user_id, last_event_timestamp, session_duration_minutes, total_events,
           orders_count, total_revenue
    FROM session_metrics
    WHERE first_event_timestamp >= %(since)s
    ORDER BY session_duration_minutes DESC, session_id
    LIMIT %(listed)s
"""
# Sessions by device type.
SELECT_DEVICES = """
    SELECT device_type AS name, count(*) AS sessions,
           count(*)::double precision / sum(count(*)) OVER () AS share,
           avg(is_bounce::integer)::double precision AS bounce_rate,
           sum(total_revenue) AS revenue
    FROM session_metrics
    WHERE first_event_timestamp >= %(since)s
    GROUP BY device_type
    ORDER BY sessions DESC, device_type
    LIMIT %(rows)s
"""
# Sessions by country.
SELECT_COUNTRIES = """
    SELECT country AS name, count(*) AS sessions,
           count(*)::double precision / sum(count(*)) OVER () AS share,
           avg(is_bounce::integer)::double precision AS bounce_rate,
           sum(total_revenue) AS revenue
    FROM session_metrics
    WHERE first_event_timestamp >= %(since)s
    GROUP BY country
    ORDER BY sessions DESC, country
    LIMIT %(rows)s
"""


def read_report(
    connection: Connection, since: timedelta | datetime | None, zone: ZoneInfo, *, charts: bool
) -> Report:
    """Read all figures in one snapshot.

    connection: not in autocommit. since: earliest time of events and sessions, or how long before
    now. zone: of days and hours. charts: read these, too. Raises UserError if tables are missing.
    """
    with snapshot(connection) as cursor:
        now = snapshot_time(cursor)
        start = since_time(now, since)
        lower_bound = start or "-infinity"
        values = {**CONSTANTS, "since": lower_bound}
        event_types = select_rows(cursor, SELECT_EVENT_TYPES, values)
        sessions = select_row(cursor, SELECT_SESSION_FIGURES, values)
        overview = _overview(event_types, sessions)
        products = select_rows(cursor, SELECT_TOP_PRODUCTS, values)
        traffic = read_traffic(cursor, overview, lower_bound, zone)
        return Report(
            database=connection.info.dbname,
            generated_at=now,
            since=start,
            time_zone=zone,
            rule=_rule(cursor),
            overview=overview,
            sessions=as_dataclass(SessionFigures, sessions),
            event_types=[as_dataclass(EventTypeFigures, row) for row in event_types],
            traffic=traffic,
            funnel=_funnel(sessions),
            revenue=_revenue(sessions, products),
            products=[as_dataclass(ProductFigures, row) for row in products],
            **_lists(cursor, values),
            visit_sources=read_visit_sources(cursor, values),
            user_agents=read_user_agents(cursor, values),
            quality=read_quality(cursor),
            charts=read_charts(cursor, traffic, values, zone) if charts else None,
        )


def _lists(cursor: Cursor, values: Mapping[str, object]) -> dict[str, Any]:
    """Return the lists that need one statement each, by field of Report."""
    return {
        "pages": select_as(PageFigures, cursor, SELECT_TOP_PAGES, values),
        "visitors": select_as(VisitorFigures, cursor, SELECT_TOP_VISITORS, values),
        "latest_orders": select_as(SessionSummary, cursor, SELECT_LATEST_ORDERS, values),
        "longest_sessions": select_as(SessionSummary, cursor, SELECT_LONGEST_SESSIONS, values),
        "devices": select_as(SegmentFigures, cursor, SELECT_DEVICES, values),
        "countries": select_as(SegmentFigures, cursor, SELECT_COUNTRIES, values),
    }


def _overview(event_types: list[Row], sessions: Row) -> Overview:
    if not event_types:
        return Overview(0, None, None, 0, 0, 0, Decimal(0))
    names = ("events", "first_event", "last_event")
    totals = {name: event_types[0][f"all_{name}"] for name in names}
    return as_dataclass(Overview, sessions | totals)


def _rule(cursor: Cursor) -> ReportedRule | None:
    stored = select_as(ReportedRule, cursor, SELECT_RULE)
    return stored[0] if stored else None


def _funnel(sessions: Row) -> list[FunnelStep]:
    counts = {"session": sessions["sessions"]}
    counts |= {name: sessions[f"with_{name}"] for name in FUNNEL_EVENT_TYPES}
    before = [None, *counts.values()]
    return [
        FunnelStep(name, number, _share(number, sessions["sessions"]), _share(number, previous))
        for (name, number), previous in zip(counts.items(), before, strict=False)
    ]


def _revenue(sessions: Row, products: list[Row]) -> RevenueFigures:
    total, orders = sessions["revenue"], sessions["orders"]
    return RevenueFigures(
        total=total,
        repaired=products[0]["all_repaired"] if products else Decimal(0),
        orders=orders,
        per_order=_mean(total, orders),
        per_session=_mean(total, sessions["sessions"]),
        sessions_with_purchase=sessions["with_purchase"],
        conversion_rate=_share(sessions["with_purchase"], sessions["sessions"]),
    )


def _share(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None


def _mean(total: Decimal, number: int) -> Decimal | None:
    return (total / number).quantize(Decimal("0.0001")) if number else None
