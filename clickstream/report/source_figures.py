"""Queries of the report about where visits come from and new visitors."""

from collections.abc import Mapping

from clickstream.clients.postgres import Cursor
from clickstream.report.models import (
    ConversionFigures,
    SourceFigures,
    VisitSourceFigures,
)
from clickstream.storage.query_rows import as_dataclass, select_rows

# The ids of clicks in a query, and values of other parameters whose names end in id: no source
# depends on those. A list of the parameters' names would take twice as long for each session.
CLICK_IDS = r"((?:^\?|&)(?:\w*id|epik)=)[^&#]+"
NEW, RETURNING = "first sessions", "later sessions"

# Sessions by channel, by source and medium, by campaign, and by new or returning visitor. A source
# follows from landing_page and entry_referrer, so it is derived for one session of each pair. Pages
# that differ only in the id of a click have the same source: each click on an ad has another id.
SELECT_SOURCES = r"""
    WITH entries AS MATERIALIZED (
        SELECT (array_agg(session_id))[1] AS session_id, session_number = 1 AS is_first,
               count(*) AS sessions, count(*) FILTER (WHERE is_bounce) AS bounces,
               sum(orders_count) AS orders, sum(total_revenue) AS revenue
        FROM (SELECT session_id, first_event_timestamp, entry_referrer, is_bounce, orders_count,
                     total_revenue,
                     CASE strpos(landing_page, '?') WHEN 0 THEN landing_page
                     ELSE split_part(landing_page, '?', 1) || regexp_replace(
                         substr(landing_page, strpos(landing_page, '?')), %(click_ids)s, '\1x', 'g')
                     END AS landing,
                     row_number() OVER (PARTITION BY user_id
                                        ORDER BY first_event_timestamp, first_event_id)
                         AS session_number
              FROM session_metrics) AS numbered
        WHERE first_event_timestamp >= %(since)s
        GROUP BY landing, entry_referrer, is_first),
    visits AS MATERIALIZED (
        SELECT channel, source || ' / ' || medium AS source, campaign,
               CASE WHEN is_first THEN %(new)s ELSE %(returning)s END AS visitor,
               sessions, bounces, orders, revenue
        FROM entries
        JOIN (SELECT session_id, channel, source, medium, campaign FROM session_sources) AS found
            USING (session_id))
    SELECT kind, name, sessions, share, bounce_rate, orders, revenue
    FROM (
        SELECT kind, name, sum(visits.sessions)::bigint AS sessions,
               sum(visits.sessions)::double precision / (SELECT sum(sessions) FROM visits) AS share,
               sum(bounces)::double precision / sum(visits.sessions) AS bounce_rate,
               sum(visits.orders)::bigint AS orders, sum(visits.revenue) AS revenue,
               row_number() OVER (PARTITION BY kind
                                  ORDER BY sum(visits.sessions) DESC, name COLLATE "C") AS place
        FROM visits
        CROSS JOIN LATERAL (VALUES ('channel', channel), ('source', visits.source),
                                   ('campaign', campaign), ('visitor', visitor))
            AS part (kind, name)
        WHERE name IS NOT NULL
        GROUP BY kind, name) AS ranked
    WHERE place <= %(rows)s OR kind = 'channel'
    ORDER BY kind, place
"""


def read_source_groups(
    cursor: Cursor, values: Mapping[str, object]
) -> dict[str, list[SourceFigures]]:
    """Return the figures by kind of source; {} if there are no sessions.

    values: since, the earliest beginning of a session; rows, the limit of each list.
    """
    groups: dict[str, list[SourceFigures]] = {}
    constants = {"new": NEW, "returning": RETURNING, "click_ids": CLICK_IDS}
    for row in select_rows(cursor, SELECT_SOURCES, {**values, **constants}):
        groups.setdefault(row["kind"], []).append(as_dataclass(SourceFigures, row))
    return groups


def visit_sources(
    groups: Mapping[str, list[SourceFigures]], conversions: list[ConversionFigures]
) -> VisitSourceFigures | None:
    """Return the figures by source and the conversions; None if there are no sessions."""
    if not groups:
        return None
    return VisitSourceFigures(
        channels=groups["channel"],
        sources=groups["source"],
        campaigns=groups.get("campaign", []),
        new_and_returning=groups["visitor"],
        conversions=conversions,
    )
