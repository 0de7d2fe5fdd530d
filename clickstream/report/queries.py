"""The queries of the report. Each scans its table once at most."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from clickstream.clients.postgres import Connection, Cursor
from clickstream.durations import since_time
from clickstream.indexer import backlog
from clickstream.report.figures import (
    Bucket,
    EventType,
    Overview,
    Page,
    Product,
    Quality,
    Reason,
    Report,
    Revenue,
    Rule,
    Segment,
    Sessions,
    Step,
    Traffic,
    Visitor,
)
from clickstream.storage.snapshot import Row, fill, one, rows, snapshot
from clickstream.storage.stored_rule import READ as STORED_RULE

SHOWN_TYPES = 20
SHOWN_ROWS = 10
FUNNEL = ("page_view", "add_to_cart", "purchase")
MOST_BUCKETS = 72
BUCKET_SECONDS = (
    *(10, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 43_200),
    *(86_400, 604_800, 2_592_000, 31_536_000, 315_360_000, 3_153_600_000),
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)

NOW = "SELECT now()"
# Sums over all types ride along with the most frequent ones.
EVENTS = """
    SELECT event_type, events, events / sum(events) OVER ()::double precision AS share,
           sum(events) OVER ()::bigint AS all_events,
           min(first) OVER () AS all_first_event,
           max(last) OVER () AS all_last_event
    FROM (SELECT event_type, count(*) AS events, min(event_time) AS first, max(event_time) AS last
          FROM clickstream_events
          WHERE event_time >= %(since)s
          GROUP BY event_type) AS types
    ORDER BY events DESC, event_type COLLATE "C"
    LIMIT %(types)s
"""
SESSIONS = """
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
# Stretches are counted from 1970.
TRAFFIC = """
    SELECT floor(date_part('epoch', event_time) / %(seconds)s)::bigint AS number,
           count(*) AS events
    FROM clickstream_events
    WHERE event_time >= %(since)s
    GROUP BY number
"""
PRODUCTS = """
    SELECT product_id, max(product_category) AS product_category,
           sum(coalesce(quantity, 1))::bigint AS units,
           coalesce(sum(price * coalesce(quantity, 1)), 0) AS revenue
    FROM clickstream_events
    WHERE event_type = 'purchase' AND event_time >= %(since)s
    GROUP BY product_id
    ORDER BY revenue DESC, units DESC, product_id
    LIMIT %(rows)s
"""
PAGES = """
    SELECT page_url, views, events,
           coalesce(landings, 0) AS landings, coalesce(exits, 0) AS exits
    FROM (SELECT page_url, count(*) FILTER (WHERE event_type = 'page_view') AS views,
                 count(*) AS events
          FROM clickstream_events
          WHERE page_url IS NOT NULL AND event_time >= %(since)s
          GROUP BY page_url
          ORDER BY views DESC, events DESC, page_url
          LIMIT %(rows)s) AS pages
    LEFT JOIN (SELECT landing_page AS page_url, count(*) AS landings
               FROM session_metrics WHERE first_event_timestamp >= %(since)s
               GROUP BY landing_page) AS landed USING (page_url)
    LEFT JOIN (SELECT exit_page AS page_url, count(*) AS exits
               FROM session_metrics WHERE first_event_timestamp >= %(since)s
               GROUP BY exit_page) AS left_from USING (page_url)
    ORDER BY views DESC, events DESC, page_url
"""
VISITORS = """
    SELECT user_id, count(*) AS sessions, sum(total_events)::bigint AS events,
           sum(total_revenue) AS revenue, max(last_event_timestamp) AS last_seen
    FROM session_metrics
    WHERE first_event_timestamp >= %(since)s
    GROUP BY user_id
    ORDER BY events DESC, sessions DESC, user_id
    LIMIT %(rows)s
"""
DEVICES = """
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
COUNTRIES = """
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
QUALITY = """
    SELECT count(*) AS partitions,
           coalesce(sum(records), 0)::bigint AS records,
           (SELECT count(*) FROM clickstream_events) AS rows,
           coalesce(sum(duplicates), 0)::bigint AS duplicates,
           coalesce(sum(late), 0)::bigint AS late,
           (SELECT count(*) FROM session_metrics WHERE closed_at IS NULL) AS open_sessions,
           (SELECT max(event_time) FROM clickstream_events) AS newest_event,
           max(last_record_at) AS last_stored,
           CASE WHEN count(*) = count(caught_up_at) THEN min(caught_up_at) END AS caught_up
    FROM stream_positions
"""
REJECTED = """
    SELECT reason, count(*) AS records
    FROM rejected_events GROUP BY reason ORDER BY records DESC, reason
"""


def read_report(connection: Connection, since: timedelta | datetime | None) -> Report:
    """Every figure of one moment.

    since: only events that happened, and sessions that began, so long ago or from then on.
    """
    with snapshot(connection) as cursor:
        now = one(cursor, NOW)["now"]
        moment = since_time(now, since)
        values = {"since": moment or "-infinity", "rows": SHOWN_ROWS, "types": SHOWN_TYPES}
        types = rows(cursor, EVENTS, values)
        sessions = one(cursor, SESSIONS, values)
        overview = _overview(types, sessions)
        return Report(
            database=connection.info.dbname,
            generated_at=now,
            since=moment,
            rule=_rule(cursor),
            overview=overview,
            sessions=fill(Sessions, sessions),
            event_types=[fill(EventType, row) for row in types],
            traffic=_traffic(cursor, overview, values),
            funnel=_funnel(sessions),
            revenue=_revenue(sessions),
            products=[fill(Product, row) for row in rows(cursor, PRODUCTS, values)],
            pages=[fill(Page, row) for row in rows(cursor, PAGES, values)],
            visitors=[fill(Visitor, row) for row in rows(cursor, VISITORS, values)],
            devices=[fill(Segment, row) for row in rows(cursor, DEVICES, values)],
            countries=[fill(Segment, row) for row in rows(cursor, COUNTRIES, values)],
            quality=_quality(cursor),
        )


def _overview(types: list[Row], sessions: Row) -> Overview:
    if not types:
        return Overview(0, None, None, 0, 0, 0, Decimal(0))
    totals = {name: types[0][f"all_{name}"] for name in ("events", "first_event", "last_event")}
    return fill(Overview, sessions | totals)


def _rule(cursor: Cursor) -> Rule | None:
    stored = rows(cursor, STORED_RULE)
    return fill(Rule, stored[0]) if stored else None


def _traffic(cursor: Cursor, overview: Overview, values: Mapping[str, object]) -> Traffic:
    """Events in at most MOST_BUCKETS stretches, each as short as that allows."""
    if overview.first_event is None or overview.last_event is None:
        return Traffic(BUCKET_SECONDS[0], [])
    span = (overview.last_event - overview.first_event).total_seconds()
    seconds = next(each for each in BUCKET_SECONDS if span / each < MOST_BUCKETS - 1)
    found = rows(cursor, TRAFFIC, {**values, "seconds": seconds})
    counts = {row["number"]: row["events"] for row in found}
    return Traffic(
        seconds,
        [
            Bucket(_bucket_start(number * seconds), counts.get(number, 0))
            for number in range(min(counts), max(counts) + 1)
        ],
    )


def _bucket_start(seconds: int) -> datetime:
    """The first of the buckets may begin before the years that there are."""
    return max(YEAR_1 - EPOCH, timedelta(seconds=seconds)) + EPOCH


def _funnel(sessions: Row) -> list[Step]:
    counts = {"session": sessions["sessions"]}
    counts |= {name: sessions[f"with_{name}"] for name in FUNNEL}
    before = [None, *counts.values()]
    return [
        Step(name, number, _share(number, sessions["sessions"]), _share(number, previous))
        for (name, number), previous in zip(counts.items(), before, strict=False)
    ]


def _revenue(sessions: Row) -> Revenue:
    total, orders = sessions["revenue"], sessions["orders"]
    return Revenue(
        total=total,
        orders=orders,
        per_order=_mean(total, orders),
        per_session=_mean(total, sessions["sessions"]),
        sessions_with_purchase=sessions["with_purchase"],
        conversion_rate=_share(sessions["with_purchase"], sessions["sessions"]),
    )


def _quality(cursor: Cursor) -> Quality:
    reasons = [fill(Reason, row) for row in rows(cursor, REJECTED)]
    rejected = {"rejected": sum(each.records for each in reasons), "rejected_by_reason": reasons}
    waiting = backlog.read(cursor)
    search = {"search": waiting if waiting.begun else None}
    return fill(Quality, one(cursor, QUALITY) | rejected | search)


def _share(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None


def _mean(total: Decimal, number: int) -> Decimal | None:
    return (total / number).quantize(Decimal("0.0001")) if number else None
