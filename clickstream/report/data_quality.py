"""Queries of the report about the quality of the data; --since does not limit them."""

from clickstream.clients.postgres import Cursor
from clickstream.indexer import backlog
from clickstream.report.models import DataQuality, RejectionFigures, RepairFigures, SuspectVisitor
from clickstream.storage import event_retention
from clickstream.storage.positions import FORGOTTEN, REMOVED_EVENTS
from clickstream.storage.query_rows import Row, as_dataclass, select_as, select_row, select_rows

LIST_REJECTED = "python -m clickstream rejected list --reason {}"
# User ids of programs that had no id to send, in lower case and without blanks around them.
PLACEHOLDERS = ["", "undefined", "null", "none", "nan", "[object object]"]
BLANKS = " \t\n\r\f\v\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}"
# With at least MIN_EVENTS, one visitor with more than this share of all events is suspect.
SUSPECT_SHARE = 0.2
MIN_EVENTS = 1_000
SHOWN_VISITORS = 10

# Counters of all partitions, also of forgotten ones, and of removed events; caught_up: of the
# partition furthest behind.
SELECT_COUNTERS = """
    SELECT count(*) FILTER (WHERE topic <> ALL (%(others)s)) AS partitions,
           coalesce(sum(records), 0)::bigint AS records,
           coalesce(sum(duplicates), 0)::bigint AS duplicates,
           coalesce(sum(removed), 0)::bigint AS removed,
           coalesce(sum(late), 0)::bigint AS late,
           (SELECT count(*) FROM session_metrics WHERE closed_at IS NULL) AS open_sessions,
           max(last_record_at) AS last_stored,
           CASE WHEN bool_and(caught_up_at IS NOT NULL OR topic = ANY (%(others)s))
                THEN min(caught_up_at) END AS caught_up
    FROM stream_positions
"""
# The stored events. The ids are read from the index of the table's key, and sorted: ten million in
# two to three seconds.
SELECT_STORED = """
    SELECT count(*) AS rows, count(*) - count(DISTINCT event_id) AS repeated_event_ids,
           (SELECT max(event_time) FROM clickstream_events) AS newest_event
    FROM clickstream_events
"""
# Rejected records by reason.
SELECT_REJECTIONS = """
    SELECT reason, count(*) AS records
    FROM rejected_events GROUP BY reason ORDER BY records DESC, reason
"""
# Visitors whose id may stand for many people.
SELECT_SUSPECT_VISITORS = """
    WITH by_visitor AS MATERIALIZED (
        SELECT user_id, sum(total_events)::bigint AS events, count(*) AS sessions
        FROM session_metrics
        GROUP BY user_id)
    SELECT user_id, events, sessions, (events / all_events)::double precision AS share,
           is_placeholder
    FROM by_visitor
    CROSS JOIN (SELECT sum(events) AS all_events FROM by_visitor) AS total
    CROSS JOIN LATERAL (
        SELECT lower(btrim(user_id, %(blanks)s)) = ANY (%(placeholders)s) AS is_placeholder)
        AS named
    WHERE is_placeholder OR (all_events >= %(min_events)s AND events > %(share)s * all_events)
    ORDER BY events DESC, user_id
    LIMIT %(rows)s
"""


def read_stored(cursor: Cursor) -> Row:
    """Read the figures of the stored events, by field of DataQuality."""
    return select_row(cursor, SELECT_STORED)


def read_quality(cursor: Cursor, stored: Row, repairs: list[RepairFigures]) -> DataQuality:
    """Read the other figures of the data's quality, and add those of stored and repaired events."""
    rejections = _rejections(cursor)
    waiting = backlog.read(cursor)
    figures = {
        **select_row(cursor, SELECT_COUNTERS, {"others": [FORGOTTEN, REMOVED_EVENTS]}),
        **stored,
        "rejected": sum(each.records for each in rejections),
        "rejected_by_reason": rejections,
        "repaired_by_field": repairs,
        "suspect_visitors": _suspect_visitors(cursor),
        "search": waiting if waiting.begun else None,
        "kept_from": event_retention.read_kept_from(cursor),
    }
    return as_dataclass(DataQuality, figures)


def _rejections(cursor: Cursor) -> list[RejectionFigures]:
    return [
        RejectionFigures(**row, list_command=LIST_REJECTED.format(row["reason"]))
        for row in select_rows(cursor, SELECT_REJECTIONS)
    ]


def _suspect_visitors(cursor: Cursor) -> list[SuspectVisitor]:
    values = {
        "blanks": BLANKS,
        "placeholders": PLACEHOLDERS,
        "min_events": MIN_EVENTS,
        "share": SUSPECT_SHARE,
        "rows": SHOWN_VISITORS,
    }
    return select_as(SuspectVisitor, cursor, SELECT_SUSPECT_VISITORS, values)
