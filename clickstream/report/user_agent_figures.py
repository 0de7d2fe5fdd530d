"""Queries of the report about bots, and about the browsers and devices of all other sessions."""

from collections.abc import Mapping

from clickstream.clients.postgres import Cursor
from clickstream.report.models import SegmentFigures, TrafficFigures, UserAgentFigures
from clickstream.storage.query_rows import as_dataclass, select_rows

REFRESH_COMMAND = "python -m clickstream user-agents refresh"

# Sessions by the text of their user agent: there are few texts, so the join is quick.
TEXTS = """
    WITH texts AS (
        SELECT user_agent, count(*) AS sessions, sum(total_events) AS events,
               count(*) FILTER (WHERE is_bounce) AS bounces, sum(orders_count) AS orders,
               sum(total_revenue) AS revenue
        FROM session_metrics
        WHERE first_event_timestamp >= %(since)s
        GROUP BY user_agent)
"""
# Figures with and without bots; no row if there is no session.
SELECT_BOT_TOTALS = f"""{TEXTS}
    SELECT with_bots, sum(sessions)::bigint AS sessions, sum(events)::bigint AS events,
           (sum(bounces) / sum(sessions))::double precision AS bounce_rate,
           sum(orders)::bigint AS orders, sum(revenue) AS revenue,
           coalesce(sum(sessions) FILTER (WHERE user_agent IS NOT NULL), 0)::bigint AS with_text,
           coalesce(sum(sessions) FILTER (WHERE is_bot IS NOT NULL), 0)::bigint AS parsed
    FROM texts
    LEFT JOIN user_agents USING (user_agent)
    CROSS JOIN (VALUES (true), (false)) AS scope (with_bots)
    WHERE with_bots OR is_bot IS NOT TRUE
    GROUP BY with_bots
"""  # noqa: S608 - built of constants
# The bots with the most sessions; and the browsers, operating systems and device types of sessions
# that are not of bots.
SELECT_SEGMENTS = f"""{TEXTS}
    SELECT kind, name, sessions, share, bounce_rate, revenue
    FROM (
        SELECT kind, name, sum(sessions)::bigint AS sessions,
               (sum(sessions) / sum(sum(sessions)) OVER (PARTITION BY kind))::double precision
                   AS share,
               (sum(bounces) / sum(sessions))::double precision AS bounce_rate,
               sum(revenue) AS revenue,
               row_number() OVER (PARTITION BY kind ORDER BY sum(sessions) DESC, name) AS place
        FROM texts
        JOIN user_agents USING (user_agent)
        CROSS JOIN LATERAL (VALUES ('browser', browser), ('os', os), ('device', device_type),
                                   ('bot', bot_reason)) AS part (kind, name)
        WHERE is_bot = (kind = 'bot')
        GROUP BY kind, name) AS ranked
    WHERE place <= %(rows)s
    ORDER BY kind, place
"""  # noqa: S608 - built of constants


def read_user_agents(cursor: Cursor, values: Mapping[str, object]) -> UserAgentFigures | None:
    """Return the figures by user agent; None if no session has a user agent.

    values: since, the earliest beginning of a session; rows, the limit of each list.
    """
    traffic = {row["with_bots"]: row for row in select_rows(cursor, SELECT_BOT_TOTALS, values)}
    if not traffic or not traffic[True]["with_text"]:
        return None
    segments: dict[str, list[SegmentFigures]] = {}
    for row in select_rows(cursor, SELECT_SEGMENTS, values):
        segments.setdefault(row["kind"], []).append(as_dataclass(SegmentFigures, row))
    everything = traffic[True]
    people = traffic.get(False)
    return UserAgentFigures(
        all_sessions=as_dataclass(TrafficFigures, everything),
        without_bots=as_dataclass(TrafficFigures, people) if people else None,
        unparsed_sessions=everything["with_text"] - everything["parsed"],
        refresh_command=REFRESH_COMMAND,
        bots=segments.get("bot", []),
        browsers=segments.get("browser", []),
        operating_systems=segments.get("os", []),
        device_types=segments.get("device", []),
    )
