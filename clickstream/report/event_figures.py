"""Figures of the report that need every event, read in one pass, and in one over order lines.

A pass over ten million events takes more than a second, so several lists share one. An index has
purchases and repaired events; with other types of conversions, the second pass reads every event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from clickstream.clients.postgres import Cursor
from clickstream.report.models import (
    ConversionFigures,
    EventTypeFigures,
    PageFigures,
    ProductFigures,
    RepairFigures,
)
from clickstream.storage.query_rows import Row, as_dataclass, select_row

SHOWN_EVENT_TYPES = 20

# All events, the most frequent event types, and the pages with the most views. Of each page, how
# many sessions began and ended on it. Addresses that differ only in origin, query or fragment are
# one page; page_url is the one with the most views.
SELECT_TYPES_AND_PAGES = """
    WITH counted AS MATERIALIZED (
        SELECT event_type, page_url, count(*) AS events
        FROM clickstream_events
        WHERE event_time >= %(since)s
        GROUP BY event_type, page_url),
    types AS (
        SELECT event_type, sum(events)::bigint AS events
        FROM counted
        GROUP BY event_type
        ORDER BY events DESC, event_type COLLATE "C"
        LIMIT %(event_types)s),
    top_pages AS (
        SELECT page_path(page_url) AS page_path,
               (array_agg(page_url ORDER BY views DESC, events DESC, page_url))[1] AS page_url,
               sum(views)::bigint AS views, sum(events)::bigint AS events
        FROM (SELECT page_url, sum(events) AS events,
                     coalesce(sum(events) FILTER (WHERE event_type = 'page_view'), 0) AS views
              FROM counted
              WHERE page_url IS NOT NULL
              GROUP BY page_url) AS addresses
        GROUP BY page_path
        ORDER BY views DESC, events DESC, page_path
        LIMIT %(rows)s),
    visited AS (
        SELECT page_path(page_url) AS page_path,
               sum(landings)::bigint AS landings, sum(exits)::bigint AS exits
        FROM (SELECT page_url, count(*) FILTER (WHERE is_landing) AS landings,
                     count(*) FILTER (WHERE NOT is_landing) AS exits
              FROM session_metrics
              CROSS JOIN LATERAL (VALUES (landing_page, true), (exit_page, false))
                  AS ends (page_url, is_landing)
              WHERE first_event_timestamp >= %(since)s
              GROUP BY page_url) AS addresses
        GROUP BY page_path),
    pages AS (
        SELECT page_path, page_url, views, events,
               coalesce(landings, 0) AS landings, coalesce(exits, 0) AS exits
        FROM top_pages LEFT JOIN visited USING (page_path)
        ORDER BY views DESC, events DESC, page_path)
    SELECT coalesce(sum(events), 0)::bigint AS events,
           (SELECT min(event_time) FROM clickstream_events WHERE event_time >= %(since)s)
               AS first_event,
           (SELECT max(event_time) FROM clickstream_events WHERE event_time >= %(since)s)
               AS last_event,
           (SELECT json_agg(listed_row) FROM types AS listed_row) AS event_types,
           (SELECT json_agg(listed_row) FROM pages AS listed_row) AS pages
    FROM counted
"""
SELECT_CONVERSION_TYPES = "SELECT array_agg(event_type) AS event_types FROM conversion_events"
# The products with the highest revenue, conversions by type of event, and events with a repaired
# value by field, which --since does not limit. The lines of an order are one conversion of its
# visitor. Revenue is text in JSON, so that it stays exact.
SELECT_SALES_AND_REPAIRS = """
    WITH listed AS MATERIALIZED (
        SELECT event_id, event_time, event_type, user_id, order_id, product_id, product_category,
               coalesce(quantity, 1) AS quantity, price * coalesce(quantity, 1) AS revenue, repaired
        FROM clickstream_events
        WHERE (event_type = ANY (%(listed_types)s) AND event_time >= %(since)s)
           OR repaired IS NOT NULL),
    purchases AS (
        SELECT product_id, product_category, quantity, revenue, repaired
        FROM listed
        WHERE event_type = 'purchase' AND event_time >= %(since)s),
    products AS (
        SELECT product_id, max(product_category) AS product_category,
               sum(quantity)::bigint AS units, coalesce(sum(revenue), 0)::text AS revenue
        FROM purchases
        GROUP BY product_id
        ORDER BY coalesce(sum(revenue), 0) DESC, units DESC, product_id
        LIMIT %(rows)s),
    conversions AS (
        SELECT event_type, count(*) AS conversions, count(DISTINCT user_id) AS visitors,
               sum(revenue)::text AS value
        FROM (SELECT user_id, event_type, sum(revenue) AS revenue
              FROM listed
              WHERE event_type = ANY (%(conversion_types)s) AND event_time >= %(since)s
              GROUP BY user_id, event_type, coalesce(order_id, event_id::text)) AS found
        GROUP BY event_type
        ORDER BY conversions DESC, event_type COLLATE "C"
        LIMIT %(rows)s),
    repairs AS (
        SELECT field, count(*) AS events
        FROM listed, unnest(repaired) AS field
        GROUP BY field
        ORDER BY events DESC, field)
    SELECT (SELECT coalesce(sum(revenue), 0)
            FROM purchases WHERE repaired && ARRAY['price', 'quantity']) AS repaired_revenue,
           (SELECT json_agg(listed_row) FROM products AS listed_row) AS products,
           (SELECT json_agg(listed_row) FROM conversions AS listed_row) AS conversions,
           (SELECT json_agg(listed_row) FROM repairs AS listed_row) AS repairs
"""


@dataclass(frozen=True, slots=True)
class EventFigures:
    """Figures of all events.

    repaired_revenue: revenue of order lines with a repaired price or quantity. repairs: of all
    events, also of those before the time asked for.
    """

    events: int
    first_event: datetime | None
    last_event: datetime | None
    event_types: list[EventTypeFigures]
    pages: list[PageFigures]
    products: list[ProductFigures]
    repaired_revenue: Decimal
    conversions: list[ConversionFigures]
    repairs: list[RepairFigures]


def read_event_figures(cursor: Cursor, values: Mapping[str, object]) -> EventFigures:
    """Read the figures of all events.

    values: since, the earliest time of an event; rows, the limit of each list.
    """
    counted = select_row(
        cursor, SELECT_TYPES_AND_PAGES, {**values, "event_types": SHOWN_EVENT_TYPES}
    )
    # The planner uses the index clickstream_events_listed only for types that it knows.
    types = select_row(cursor, SELECT_CONVERSION_TYPES)["event_types"] or []
    listed = {"conversion_types": types, "listed_types": [*types, "purchase"]}
    sales = select_row(cursor, SELECT_SALES_AND_REPAIRS, {**values, **listed})
    return EventFigures(
        events=counted["events"],
        first_event=counted["first_event"],
        last_event=counted["last_event"],
        event_types=[
            EventTypeFigures(**row, share=row["events"] / counted["events"])
            for row in counted["event_types"] or []
        ],
        pages=[PageFigures(**row) for row in counted["pages"] or []],
        products=[
            as_dataclass(ProductFigures, _exact(row, "revenue")) for row in sales["products"] or []
        ],
        repaired_revenue=sales["repaired_revenue"],
        conversions=[
            ConversionFigures(**_exact(row, "value")) for row in sales["conversions"] or []
        ],
        repairs=[RepairFigures(**row) for row in sales["repairs"] or []],
    )


def _exact(row: Row, name: str) -> Row:
    """Return a row with an amount as Decimal instead of text."""
    return row | {name: None if row[name] is None else Decimal(row[name])}
