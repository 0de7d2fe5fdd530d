"""The report: queries of sessions, and the figures of the other modules, in one snapshot."""

from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from clickstream.clients.postgres import Connection, Cursor
from clickstream.durations import since_time
from clickstream.report.chart_figures import read_charts, read_transitions
from clickstream.report.data_quality import read_quality, read_stored
from clickstream.report.event_figures import EventFigures, read_event_figures
from clickstream.report.models import (
    FunnelStep,
    Overview,
    Report,
    ReportedRule,
    RevenueFigures,
    SegmentFigures,
    SessionFigures,
    SessionSummary,
    SourceFigures,
    TransitionFigures,
    VisitorFigures,
)
from clickstream.report.source_figures import read_source_groups, visit_sources
from clickstream.report.traffic_over_time import read_traffic
from clickstream.report.user_agent_figures import read_user_agents
from clickstream.storage.query_rows import Row, as_dataclass, select_as, select_row, select_rows
from clickstream.storage.second_reader import reading_beside
from clickstream.storage.snapshot import snapshot, snapshot_time
from clickstream.storage.stored_rule import SELECT_RULE

# Of products, pages, visitors, devices and countries.
TOP_ROWS = 10
# Rows of the latest orders, and of the longest sessions.
LISTED_SESSIONS = 5
# The parameters of the statements that are always the same.
CONSTANTS = {"rows": TOP_ROWS, "listed": LISTED_SESSIONS}
FUNNEL_EVENT_TYPES = ("page_view", "add_to_cart", "purchase")

# The default, 4 MB, would make sorts of large tables go to the disk several times.
SET_SORT_MEMORY = "SET LOCAL work_mem = '64MB'"
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
# Sessions by device type and by country, in one pass.
SELECT_DEVICES_AND_COUNTRIES = """
    WITH counted AS MATERIALIZED (
        SELECT device_type, country, count(*) AS sessions,
               count(*) FILTER (WHERE is_bounce) AS bounces, sum(total_revenue) AS revenue
        FROM session_metrics
        WHERE first_event_timestamp >= %(since)s
        GROUP BY device_type, country)
    SELECT kind, name, sessions, share, bounce_rate, revenue
    FROM (
        SELECT kind, name, sum(sessions)::bigint AS sessions,
               (sum(sessions)::double precision / sum(sum(sessions)) OVER (PARTITION BY kind))
                   AS share,
               (sum(bounces) / sum(sessions))::double precision AS bounce_rate,
               sum(revenue) AS revenue,
               row_number() OVER (PARTITION BY kind ORDER BY sum(sessions) DESC, name) AS place
        FROM counted
        CROSS JOIN LATERAL (VALUES ('devices', device_type), ('countries', country))
            AS part (kind, name)
        GROUP BY kind, name) AS ranked
    WHERE place <= %(rows)s
    ORDER BY kind, place
"""


class FiguresBeside(NamedTuple):
    """The figures that the second connection reads, while the first one reads the others.

    stored: see `read_stored`. sources: see `read_source_groups`. transitions: see
    `read_transitions`; none if they were not asked for.
    """

    stored: Row
    sources: dict[str, list[SourceFigures]]
    transitions: list[TransitionFigures]


def read_report(
    connection: Connection,
    second: Connection,
    since: timedelta | datetime | None,
    zone: ZoneInfo,
    *,
    charts: bool,
) -> Report:
    """Read all figures in one snapshot.

    connection, second: two connections, not in autocommit. since: earliest time of events and
    sessions, or how long before now. zone: time zone of days and hours. charts: read these, too.
    Raises UserError if tables are missing.
    """
    with snapshot(connection) as cursor:
        cursor.execute(SET_SORT_MEMORY)
        now = snapshot_time(cursor)
        start = since_time(now, since)
        values = {**CONSTANTS, "since": start or "-infinity"}
        read_beside = partial(_read_beside, values=values, charts=charts)
        with reading_beside(cursor, second, read_beside) as beside:
            return Report(
                database=connection.info.dbname,
                generated_at=now,
                since=start,
                time_zone=zone,
                rule=_rule(cursor),
                **_figures(cursor, values, zone, charts=charts, beside=beside),
            )


def _figures(
    cursor: Cursor,
    values: Mapping[str, Any],
    zone: ZoneInfo,
    *,
    charts: bool,
    beside: Future[FiguresBeside],
) -> dict[str, Any]:
    """Return all figures, by field of Report. beside: the result of `_read_beside`."""
    events = read_event_figures(cursor, values)
    sessions = select_row(cursor, SELECT_SESSION_FIGURES, values)
    overview = _overview(events, sessions)
    traffic = read_traffic(cursor, overview, values["since"], zone)
    lists = _lists(cursor, values)
    chart_figures = None
    if charts:
        chart_figures = read_charts(
            cursor, traffic, values, zone, transitions=lambda: beside.result().transitions
        )
    stored, sources, _ = beside.result()
    return {
        "overview": overview,
        "sessions": as_dataclass(SessionFigures, sessions),
        "event_types": events.event_types,
        "traffic": traffic,
        "funnel": _funnel(sessions),
        "revenue": _revenue(sessions, events.repaired_revenue),
        "products": events.products,
        "pages": events.pages,
        **lists,
        "visit_sources": visit_sources(sources, events.conversions),
        "quality": read_quality(cursor, stored, events.repairs),
        "charts": chart_figures,
    }


def _read_beside(cursor: Cursor, values: Mapping[str, Any], *, charts: bool) -> FiguresBeside:
    cursor.execute(SET_SORT_MEMORY)
    return FiguresBeside(
        read_stored(cursor),
        read_source_groups(cursor, values),
        read_transitions(cursor, values) if charts else [],
    )


def _lists(cursor: Cursor, values: Mapping[str, object]) -> dict[str, Any]:
    """Return lists of sessions and visitors, by field of Report."""
    return {
        "user_agents": read_user_agents(cursor, values),
        "visitors": select_as(VisitorFigures, cursor, SELECT_TOP_VISITORS, values),
        "latest_orders": select_as(SessionSummary, cursor, SELECT_LATEST_ORDERS, values),
        "longest_sessions": select_as(SessionSummary, cursor, SELECT_LONGEST_SESSIONS, values),
        **_devices_and_countries(cursor, values),
    }


def _devices_and_countries(
    cursor: Cursor, values: Mapping[str, object]
) -> dict[str, list[SegmentFigures]]:
    """Return the sessions by device type and by country, by field of Report."""
    segments: dict[str, list[SegmentFigures]] = {"devices": [], "countries": []}
    for row in select_rows(cursor, SELECT_DEVICES_AND_COUNTRIES, values):
        segments[row["kind"]].append(as_dataclass(SegmentFigures, row))
    return segments


def _overview(events: EventFigures, sessions: Row) -> Overview:
    if not events.events:
        return Overview(0, None, None, 0, 0, 0, Decimal(0))
    return Overview(
        events=events.events,
        first_event=events.first_event,
        last_event=events.last_event,
        **{name: sessions[name] for name in ("sessions", "visitors", "orders", "revenue")},
    )


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


def _revenue(sessions: Row, repaired: Decimal) -> RevenueFigures:
    total, orders = sessions["revenue"], sessions["orders"]
    return RevenueFigures(
        total=total,
        repaired=repaired,
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
