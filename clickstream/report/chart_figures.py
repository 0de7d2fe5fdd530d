"""Queries of the figures that only the HTML page and JSON have.

Each statement reads its table once and returns few rows, however many are stored.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from clickstream.clients.postgres import Cursor
from clickstream.report.models import (
    CategoryFigures,
    ChartFigures,
    DurationFigures,
    EngagementFigures,
    IngestBucket,
    IngestOverTime,
    RevenueBucket,
    SessionBucket,
    TrafficOverTime,
    TransitionFigures,
    WeekHourFigures,
)
from clickstream.report.traffic_over_time import bucket_number, bucket_start
from clickstream.storage.query_rows import Row, as_dataclass, select_as, select_row, select_rows

# Lower bounds of the durations that are counted together. A session of 10 s is a bounce, unless it
# has a purchase or two page views.
DURATION_SECONDS = (0, 1, 10, 30, 60, 180, 600, 1_800, 3_600, 10_800)
SHOWN_CATEGORIES = 12
SHOWN_DEVICES = 4
SHOWN_TRANSITIONS = 16
INGEST_BUCKETS = 60

# Sessions per bucket. All sessions of a visitor are read, to know the first one.
SELECT_SESSIONS_OVER_TIME = """
    SELECT floor(date_part('epoch', first_event_timestamp AT TIME ZONE %(zone)s)
                 / %(seconds)s)::bigint AS number,
           count(*) AS sessions,
           count(*) FILTER (WHERE session_number = 1) AS first,
           count(*) FILTER (WHERE NOT is_bounce) AS engaged
    FROM (SELECT first_event_timestamp, is_bounce,
                 row_number() OVER (PARTITION BY user_id
                                    ORDER BY first_event_timestamp, first_event_id)
                     AS session_number
          FROM session_metrics) AS numbered
    WHERE first_event_timestamp >= %(first)s AND first_event_timestamp < %(end)s
    GROUP BY number
"""
# Revenue per bucket.
SELECT_REVENUE_OVER_TIME = """
    SELECT floor(date_part('epoch', event_time AT TIME ZONE %(zone)s) / %(seconds)s)::bigint
               AS number,
           coalesce(sum(price * coalesce(quantity, 1)), 0) AS revenue
    FROM clickstream_events
    WHERE event_type = 'purchase' AND event_time >= %(first)s AND event_time < %(end)s
    GROUP BY number
"""
# New and returning visitors, and engaged sessions.
SELECT_ENGAGEMENT = """
    SELECT count(*) AS visitors,
           count(*) FILTER (WHERE first_session >= %(since)s) AS new_visitors,
           count(*) FILTER (WHERE first_session < %(since)s OR sessions > 1)
               AS returning_visitors,
           coalesce(sum(sessions), 0)::bigint AS sessions,
           coalesce(sum(engaged), 0)::bigint AS engaged_sessions
    FROM (SELECT min(first_event_timestamp) AS first_session,
                 count(*) FILTER (WHERE first_event_timestamp >= %(since)s) AS sessions,
                 count(*) FILTER (WHERE first_event_timestamp >= %(since)s AND NOT is_bounce)
                     AS engaged
          FROM session_metrics
          GROUP BY user_id) AS visitors
    WHERE sessions > 0
"""
# Sessions by duration.
SELECT_DURATIONS = """
    SELECT width_bucket(session_duration_minutes * 60, %(bounds)s::double precision[]) - 1
               AS number,
           count(*) AS sessions
    FROM session_metrics
    WHERE first_event_timestamp >= %(since)s
    GROUP BY number
"""
# Events by weekday and hour. The events of each hour that has some are counted in the index of the
# table's key, from its first event on: to derive the hour of each event would take several times as
# long.
SELECT_HOURS = """
    WITH RECURSIVE hours AS (
        SELECT min(event_time) AS first_event
        FROM clickstream_events
        WHERE event_time >= %(since)s
        UNION ALL
        SELECT (SELECT min(event_time) FROM clickstream_events
                WHERE event_time >= date_trunc('hour', first_event, %(zone)s) + interval '1 hour')
        FROM hours
        WHERE first_event IS NOT NULL)
    SELECT extract(isodow FROM first_event AT TIME ZONE %(zone)s)::integer AS weekday,
           extract(hour FROM first_event AT TIME ZONE %(zone)s)::integer AS hour,
           sum(events)::bigint AS events
    FROM hours
    CROSS JOIN LATERAL (
        SELECT count(*) AS events FROM clickstream_events
        WHERE event_time >= first_event
          AND event_time < date_trunc('hour', first_event, %(zone)s) + interval '1 hour') AS counted
    WHERE first_event IS NOT NULL
    GROUP BY weekday, hour
    ORDER BY weekday, hour
"""
# Events by category and device type, for the most frequent ones of both.
SELECT_CATEGORIES = """
    SELECT kind, category, device_type, events
    FROM (SELECT kind, category, device_type, events,
                 dense_rank() OVER (PARTITION BY kind ORDER BY category_events DESC, category)
                     AS category_rank,
                 dense_rank() OVER (PARTITION BY kind ORDER BY device_events DESC, device_type)
                     AS device_rank
          FROM (SELECT kind, category, device_type, sum(events)::bigint AS events,
                       sum(sum(events)) OVER (PARTITION BY kind, category) AS category_events,
                       sum(sum(events)) OVER (PARTITION BY kind, device_type) AS device_events
                FROM (SELECT article_category, product_category, device_type, count(*) AS events
                      FROM clickstream_events
                      WHERE event_time >= %(since)s
                      GROUP BY article_category, product_category, device_type) AS combined
                CROSS JOIN LATERAL (VALUES ('article', article_category),
                                           ('product', product_category)) AS named (kind, category)
                WHERE category IS NOT NULL
                GROUP BY kind, category, device_type) AS counted) AS ranked
    WHERE category_rank <= %(categories)s AND device_rank <= %(devices)s
    ORDER BY kind, category_rank, device_rank
"""
# The most frequent steps from one page to another. The start of each session is a row without an
# address, so that no step goes from one session to the next; it sorts before the session's first
# event. A join of each page view with its session would be slow for a visitor with many sessions.
# MATERIALIZED: the paths are computed once for each pair of addresses, not for each page view.
SELECT_TRANSITIONS = """
    WITH ordered AS (
        SELECT page_url,
               lag(page_url) OVER (PARTITION BY user_id
                                   ORDER BY event_time, event_id, page_url IS NOT NULL)
                   AS previous_url
        FROM (SELECT user_id, event_time, event_id, page_url
              FROM clickstream_events
              WHERE event_type = 'page_view' AND page_url IS NOT NULL
                AND event_time >= %(since)s
              UNION ALL
              SELECT user_id, first_event_timestamp, first_event_id, NULL
              FROM session_metrics
              WHERE first_event_timestamp >= %(since)s) AS views_and_starts),
    steps AS (
        SELECT previous_url, page_url, count(*) AS views
        FROM ordered
        WHERE page_url <> previous_url
        GROUP BY previous_url, page_url),
    paths AS MATERIALIZED (
        SELECT page_path(previous_url) AS from_path, page_path(page_url) AS to_path, views
        FROM steps)
    SELECT from_path, to_path, sum(views)::bigint AS views
    FROM paths
    WHERE from_path <> to_path
    GROUP BY from_path, to_path
    ORDER BY views DESC, from_path, to_path
    LIMIT %(transitions)s
"""
# The start of the hour before the last stored record.
SELECT_INGEST_START = """
    SELECT max(last_record_at) - interval '1 hour' AS ingest_start FROM stream_positions
"""
# Events per bucket of the time they were stored, with their delay, in that hour. The planner lets
# several processes look for them if it knows the time.
SELECT_INGEST = """
    WITH recent AS MATERIALIZED (
        SELECT stored_at, date_part('epoch', stored_at - event_time) AS delay
        FROM clickstream_events
        WHERE stored_at > %(ingest_start)s),
    bounds AS (
        SELECT min(stored_at) AS first,
               greatest(1, ceil(date_part('epoch', max(stored_at) - min(stored_at))
                                / %(ingest_buckets)s))::integer AS seconds
        FROM recent)
    SELECT floor(date_part('epoch', stored_at - first) / seconds)::integer AS number,
           first, seconds, count(*) AS events,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY delay) AS delay_median,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY delay) AS delay_p95
    FROM recent, bounds
    GROUP BY number, first, seconds
    ORDER BY number
"""


def read_transitions(cursor: Cursor, values: Mapping[str, object]) -> list[TransitionFigures]:
    """Read the most frequent steps between pages. values: since, the earliest time of an event."""
    limited = {**values, "transitions": SHOWN_TRANSITIONS}
    return select_as(TransitionFigures, cursor, SELECT_TRANSITIONS, limited)


def read_charts(
    cursor: Cursor,
    traffic: TrafficOverTime,
    report_values: Mapping[str, object],
    zone: ZoneInfo,
    transitions: Callable[[], list[TransitionFigures]],
) -> ChartFigures:
    """Read all figures of the charts.

    traffic: its buckets are those of the sessions and of the revenue over time. report_values: the
    parameters of the report's statements. zone: time zone of weekdays and hours. transitions:
    returns the result of `read_transitions`, which takes as long as all others together.
    """
    values = {
        **report_values,
        "zone": zone.key,
        "bounds": list(DURATION_SECONDS),
        "categories": SHOWN_CATEGORIES,
        "devices": SHOWN_DEVICES,
        "ingest_buckets": INGEST_BUCKETS,
        **select_row(cursor, SELECT_INGEST_START),
    }
    categories = select_rows(cursor, SELECT_CATEGORIES, values)
    return ChartFigures(
        sessions_over_time=_sessions_over_time(cursor, traffic, zone),
        revenue_over_time=_revenue_over_time(cursor, traffic, zone),
        engagement=as_dataclass(EngagementFigures, select_row(cursor, SELECT_ENGAGEMENT, values)),
        durations=_durations(select_rows(cursor, SELECT_DURATIONS, values)),
        hours=select_as(WeekHourFigures, cursor, SELECT_HOURS, values),
        articles=_categories(categories, "article"),
        products=_categories(categories, "product"),
        ingest=_ingest(select_rows(cursor, SELECT_INGEST, values)),
        transitions=transitions(),
    )


def _sessions_over_time(
    cursor: Cursor, traffic: TrafficOverTime, zone: ZoneInfo
) -> list[SessionBucket]:
    none = {"sessions": 0, "first": 0, "engaged": 0}
    rows = _by_bucket(cursor, SELECT_SESSIONS_OVER_TIME, traffic, zone, none)
    return [as_dataclass(SessionBucket, row) for row in rows]


def _revenue_over_time(
    cursor: Cursor, traffic: TrafficOverTime, zone: ZoneInfo
) -> list[RevenueBucket]:
    rows = _by_bucket(cursor, SELECT_REVENUE_OVER_TIME, traffic, zone, {"revenue": Decimal(0)})
    return [as_dataclass(RevenueBucket, row) for row in rows]


def _by_bucket(
    cursor: Cursor, query: str, traffic: TrafficOverTime, zone: ZoneInfo, none: Row
) -> list[Row]:
    """Return a row for each bucket, with its start. none: the row of a bucket without any."""
    if not traffic.buckets:
        return []
    seconds = traffic.bucket_seconds
    first = bucket_number(traffic.buckets[0].start, seconds, zone)
    values = {
        "seconds": seconds,
        "first": traffic.buckets[0].start,
        "end": bucket_start(first + len(traffic.buckets), seconds, zone),
        "zone": zone.key,
    }
    found = {row["number"]: row for row in select_rows(cursor, query, values)}
    return [
        found.get(number, none) | {"start": bucket.start}
        for number, bucket in enumerate(traffic.buckets, start=first)
    ]


def _durations(rows: list[Row]) -> list[DurationFigures]:
    counts = {row["number"]: row["sessions"] for row in rows}
    return [
        DurationFigures(seconds, counts.get(number, 0))
        for number, seconds in enumerate(DURATION_SECONDS)
    ]


def _categories(rows: list[Row], kind: str) -> list[CategoryFigures]:
    return [as_dataclass(CategoryFigures, row) for row in rows if row["kind"] == kind]


def _ingest(rows: list[Row]) -> IngestOverTime:
    if not rows:
        return IngestOverTime(1, [])
    first, seconds = rows[0]["first"], rows[0]["seconds"]
    buckets = [
        as_dataclass(
            IngestBucket, row | {"start": first + timedelta(seconds=seconds * row["number"])}
        )
        for row in rows
    ]
    return IngestOverTime(seconds, buckets)
