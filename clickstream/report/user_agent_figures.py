"""Queries of the report about bots, and about the browsers and devices of all other sessions."""

from collections import defaultdict
from collections.abc import Mapping

from clickstream.clients.postgres import Cursor
from clickstream.report.models import SegmentFigures, TrafficFigures, UserAgentFigures
from clickstream.storage.query_rows import Row, as_dataclass, select_rows

REFRESH_COMMAND = "python -m clickstream user-agents refresh"

# Kind `all`: all sessions; kind `people`: those that are not of known bots; and of parsed sessions
# the bots with the most, and the browsers, operating systems and device types of all others. There
# are few texts of user agents, so the sessions are counted by text first.
SELECT_USER_AGENTS = """
    WITH texts AS (
        SELECT user_agent, count(*) AS sessions, sum(total_events) AS events,
               count(*) FILTER (WHERE is_bounce) AS bounces, sum(orders_count) AS orders,
               sum(total_revenue) AS revenue
        FROM session_metrics
        WHERE first_event_timestamp >= %(since)s
        GROUP BY user_agent)
    SELECT kind, name, sessions, share, bounce_rate, revenue, events, orders, with_text, parsed
    FROM (
        SELECT kind, name, sum(sessions)::bigint AS sessions,
               (sum(sessions) / sum(sum(sessions)) OVER (PARTITION BY kind))::double precision
                   AS share,
               (sum(bounces) / sum(sessions))::double precision AS bounce_rate,
               sum(revenue) AS revenue, sum(events)::bigint AS events,
               sum(orders)::bigint AS orders,
               coalesce(sum(sessions) FILTER (WHERE user_agent IS NOT NULL), 0)::bigint
                   AS with_text,
               coalesce(sum(sessions) FILTER (WHERE is_bot IS NOT NULL), 0)::bigint AS parsed,
               row_number() OVER (PARTITION BY kind ORDER BY sum(sessions) DESC, name) AS place
        FROM texts
        LEFT JOIN user_agents USING (user_agent)
        CROSS JOIN LATERAL (VALUES ('all', NULL, true), ('people', NULL, is_bot IS NOT TRUE),
                                   ('browser', browser, NOT is_bot), ('os', os, NOT is_bot),
                                   ('device', device_type, NOT is_bot),
                                   ('bot', bot_reason, is_bot)) AS part (kind, name, is_part)
        WHERE is_part
        GROUP BY kind, name) AS ranked
    WHERE place <= %(rows)s
    ORDER BY kind, place
"""


def read_user_agents(cursor: Cursor, values: Mapping[str, object]) -> UserAgentFigures | None:
    """Return the figures by user agent; None if no session has a user agent.

    values: since, the earliest beginning of a session; rows, the limit of each list.
    """
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in select_rows(cursor, SELECT_USER_AGENTS, values):
        kinds[row["kind"]].append(row)
    if not kinds["all"] or not kinds["all"][0]["with_text"]:
        return None
    (everything,) = kinds["all"]
    segments = {
        kind: [as_dataclass(SegmentFigures, row) for row in kinds[kind]]
        for kind in ("bot", "browser", "os", "device")
    }
    return UserAgentFigures(
        all_sessions=as_dataclass(TrafficFigures, everything),
        without_bots=next((as_dataclass(TrafficFigures, row) for row in kinds["people"]), None),
        unparsed_sessions=everything["with_text"] - everything["parsed"],
        refresh_command=REFRESH_COMMAND,
        bots=segments["bot"],
        browsers=segments["browser"],
        operating_systems=segments["os"],
        device_types=segments["device"],
    )
