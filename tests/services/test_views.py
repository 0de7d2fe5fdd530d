"""Views for people: right in any time zone, quick by time, explained, open to an analyst."""

import re
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg2
import pytest

from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from clickstream.storage.schema import TABLES, VIEWS
from tests.services.databases import Query
from tests.services.scripts import RunScript

README = Path(__file__).parents[2] / "README.md"
ZONE = "Europe/Oslo"
# 20 days; on 26 October the day of Oslo has 25 hours.
EVENTS = """
    INSERT INTO clickstream_events
           (event_id, event_time, event_type, user_id, price, quantity)
    SELECT gen_random_uuid(), timestamptz '2025-10-15T00:00Z' + n * interval '43 seconds',
           (ARRAY['page_view', 'add_to_cart', 'purchase'])[1 + n % 3], 'user-' || n * n % 977,
           n % 100, nullif(n % 4, 0)
    FROM generate_series(1, 40000) AS n
"""
SESSIONS = """
    INSERT INTO session_metrics
           (session_id, user_id, total_events, event_type_counts, first_event_timestamp,
            last_event_timestamp, first_event_id, last_event_id, unique_pages, unique_pages_count,
            total_revenue, orders_count, products_viewed, products_viewed_count, search_queries,
            referrers, unique_referrers_count, is_bounce, landing_page)
    SELECT event_id, user_id, 2, jsonb_build_object(event_type, 2), event_time,
           event_time + interval '1 minute', event_id, event_id, '[]', 0,
           coalesce(price, 0), (event_type = 'purchase')::int, '[]', 0, '[]', '[]', 0,
           price < 20, 'https://shop.example/p?q=1'
    FROM clickstream_events WHERE event_type <> 'add_to_cart' OR price > 50
"""
SET_ZONE = "UPDATE report_settings SET time_zone = %s"
# The rows that the views must show, by plain statements that may be slow.
EXPECTED = {
    "hourly_traffic": """
        SELECT date_trunc('hour', event_time, %(zone)s), count(*), count(DISTINCT user_id),
               coalesce(sum(price * coalesce(quantity, 1))
                        FILTER (WHERE event_type = 'purchase'), 0)
        FROM clickstream_events GROUP BY 1 ORDER BY 1
    """,
    "daily_traffic": """
        SELECT (first_event_timestamp AT TIME ZONE %(zone)s)::date, count(DISTINCT user_id),
               count(*), sum(total_events), sum(orders_count), sum(total_revenue),
               round(avg(100 * is_bounce::int), 2), round(avg(100.0 * orders_count), 2)
        FROM session_metrics GROUP BY 1 ORDER BY 1
    """,
    "funnel_by_day": """
        SELECT day, step, event_type, sessions,
               round(100.0 * sessions / max(sessions) OVER (PARTITION BY day), 2)
        FROM (SELECT (first_event_timestamp AT TIME ZONE %(zone)s)::date AS day, step, event_type,
                     count(*) FILTER (WHERE event_type_counts ? event_type) AS sessions
              FROM session_metrics, (VALUES (1, 'page_view'), (2, 'add_to_cart'), (3, 'purchase'))
                                        AS steps (step, event_type)
              GROUP BY 1, 2, 3) AS counted
        ORDER BY day, step
    """,
    "retention_cohorts": """
        WITH active AS (
            SELECT user_id, date_trunc('week', first_event_timestamp AT TIME ZONE %(zone)s) AS week
            FROM session_metrics GROUP BY 1, 2),
        cohorts AS (SELECT user_id, min(week) AS cohort FROM active GROUP BY 1),
        sizes AS (SELECT cohort, count(*) AS size FROM cohorts GROUP BY 1)
        SELECT cohort::date, (week::date - cohort::date) / 7, count(*),
               round(100.0 * count(*) / size, 2)
        FROM active JOIN cohorts USING (user_id) JOIN sizes USING (cohort)
        GROUP BY 1, 2, size ORDER BY 1, 2
    """,
}
# Each view of rows with a time, and a filter as a dashboard would set it.
FILTERED = {
    "events_with_session": "event_time >= '2025-11-03T20:00Z'",
    "latest_sessions": "first_event_timestamp >= '2025-11-03T12:00Z'",
    "hourly_traffic": "hour >= '2025-11-03T12:00Z'",
    "daily_traffic": "day >= '2025-11-03'",
    "funnel_by_day": "day >= '2025-11-03'",
    "retention_cohorts": "cohort_week >= '2025-11-03'",
    "session_sources": "first_event_timestamp >= '2025-11-03T12:00Z'",
    "visitors": "first_seen >= '2025-11-03T12:00Z'",
    "conversions": "conversion_time >= '2025-11-03T12:00Z'",
}
EVENT_VIEWS = {"events_with_session", "hourly_traffic", "conversions"}
WITHOUT_COMMENT = """
    SELECT c.relname || coalesce('.' || a.attname, '')
    FROM pg_class c
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
      AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)
"""
PATHS = """
    SELECT page_path(url) FROM unnest(ARRAY['https://shop.example/a/b?c=/d#e', 'http://shop.example',
        'https://shop.example?a=b', '/a#b?c', '/a?b=https://c/d', 'app.screen', NULL]) AS url
"""
# A view as version 2 had it, and one of a user that needs it.
OLD_VIEW = """
    DROP VIEW events_with_session;
    CREATE VIEW events_with_session AS SELECT event_id, xid FROM clickstream_events;
    CREATE VIEW of_a_user AS SELECT event_id FROM events_with_session;
    UPDATE schema_version SET version = 2
"""


@pytest.fixture
def filled(query: Query) -> None:
    """Fill the tables with 40,000 events and 30,000 sessions; the views count in ZONE."""
    query(EVENTS)
    query(SESSIONS)
    query("ANALYZE clickstream_events, session_metrics")
    query(SET_ZONE, (ZONE,))


@pytest.mark.usefixtures("filled")
def test_days_weeks_and_hours_are_those_of_the_time_zone_for_every_client(query: Query) -> None:
    query("SET timezone = 'Pacific/Auckland'")
    for view, expected in EXPECTED.items():
        assert query(f"SELECT * FROM {view}") == query(expected, {"zone": ZONE}), view
    hours = "SELECT count(*) FROM hourly_traffic WHERE (hour AT TIME ZONE %s)::date = '2025-10-26'"
    assert query(hours, (ZONE,)) == [(25,)]


@pytest.mark.usefixtures("filled")
def test_a_view_that_is_filtered_by_time_reads_an_index(query: Query) -> None:
    for view, condition in FILTERED.items():
        lines = query(f"EXPLAIN SELECT * FROM {view} WHERE {condition}")
        plan = "\n".join(line for (line,) in lines)
        assert re.search("clickstream_events_key|session_metrics_start", plan), plan
        main = "clickstream_events" if view in EVENT_VIEWS else "session_metrics"
        assert f"Seq Scan on {main}" not in plan, plan


def test_every_table_view_and_column_has_a_comment_and_no_view_shows_internals(
    query: Query,
) -> None:
    assert query(WITHOUT_COMMENT) == []
    columns = "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass"
    for view in VIEWS:
        assert not {"xid", "first_event_id", "last_event_id"} & {
            n for (n,) in query(columns, (view,))
        }
    assert [path for (path,) in query(PATHS)] == [
        "/a/b", "/", "/", "/a", "/a", "app.screen", None,
    ]  # fmt: skip


def test_create_schema_stores_the_time_zone_of_the_views(
    run_script: RunScript, query: Query
) -> None:
    query(EVENTS)
    query(SESSIONS)
    first_day = "SELECT min(day) FROM daily_traffic"
    assert query(first_day) == [(date(2025, 10, 15),)]
    stored = run_script("create_schema.py", REPORT_TIMEZONE="America/New_York")
    assert (stored.returncode, stored.stderr) == (0, "")
    assert "The views count days and hours in America/New_York.\n" in stored.stdout
    assert query(first_day) == [(date(2025, 10, 14),)]
    refused = run_script("create_schema.py", REPORT_TIMEZONE="Nowhere")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: REPORT_TIMEZONE must be the name of a time zone, such")
    assert query(first_day) == [(date(2025, 10, 14),)]


def test_a_view_of_a_user_on_a_view_that_changes_is_named_and_kept(
    run_script: RunScript, query: Query
) -> None:
    query(OLD_VIEW)
    refused = run_script("create_schema.py")
    assert refused.returncode == 1
    assert "\nerror: a view of yours depends on one that changes (" in refused.stderr
    assert "of_a_user" in refused.stderr
    query("DROP VIEW of_a_user")
    assert run_script("create_schema.py").returncode == 0
    assert query("SELECT count(page_path) FROM events_with_session") == [(0,)]


def test_the_role_for_analysts_in_the_readme_reads_all_but_secrets_and_changes_nothing(
    settings: Settings, query: Query, maintenance: Callable[[str], None]
) -> None:
    role, password = f"analyst_{secrets.token_hex(6)}", secrets.token_hex(16)
    statements = re.findall(
        r"^(?:CREATE ROLE|GRANT|REVOKE|ALTER DEFAULT).*\banalyst\b.*;$",
        README.read_text("utf-8"),
        re.M,
    )
    assert len(statements) == 5
    for statement in statements:
        query(re.sub(r"\banalyst\b", role, statement).replace("'...'", f"'{password}'"))
    query("CREATE TABLE later (n int)")
    try:
        reader = replace(settings, postgres_user=role, postgres_password=password)
        with closing(connect(reader, application="test")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for name in {*TABLES, *VIEWS, "later"} - {"erasure_keys"}:
                    cursor.execute(f"SELECT count(*) FROM {name}")
                for refused in (
                    "DELETE FROM later",
                    "CREATE TABLE mine (n int)",
                    "SELECT key FROM erasure_keys",
                ):
                    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                        cursor.execute(refused)
    finally:
        query(f"DROP OWNED BY {role}")
        maintenance(f"DROP ROLE {role}")
