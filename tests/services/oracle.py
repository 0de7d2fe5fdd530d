"""The sessions that the tables must hold, computed by a short second version of the session rule.

It shares nothing with the product but the namespace of session ids.
"""

import json
import uuid
from bisect import bisect
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from psycopg2.extras import RealDictCursor

from clickstream.clients.postgres import Connection, connect
from clickstream.model.sessions import NAMESPACE
from clickstream.settings import Settings
from clickstream.verify.stored_sessions import verify_sessions

Row = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PRODUCT_TYPES = {"page_view", "click", "hover", "scroll", "add_to_cart"}

EVENTS = """
    SELECT *, host(ip_address) AS ip_address FROM clickstream_events
    ORDER BY user_id, event_time, event_id
"""
SESSIONS = """
    SELECT *, host(ip_address) AS ip_address, close_reason = 'end_event' IS TRUE AS ended_by_event
    FROM session_metrics ORDER BY user_id, first_event_timestamp, first_event_id
"""
STATUS = ("closed_at", "close_reason", "xid")
COUNTERS = """
    SELECT sum(records)::int AS records, sum(duplicates)::int AS duplicates,
           sum(rejected)::int AS rejected, sum(removed)::int AS removed,
           (SELECT count(*) FROM clickstream_events) AS rows,
           (SELECT count(*) FROM rejected_events) AS rejected_rows
    FROM stream_positions
"""


def check(environment: Mapping[str, str]) -> Row:
    """Assert that sessions and counters are exact, and return the counters.

    The sessions are compared with the oracle, by the rule of these settings, and by
    `summary.py --verify`.
    """
    settings = Settings.from_mapping(environment)
    with closing(connect(settings, application="oracle")) as connection:
        check_sessions(
            connection,
            timeout=settings.session_timeout_seconds,
            starts=settings.session_start_events,
            ends=settings.session_end_events,
        )
        differences = verify_sessions(connection).differences
        assert differences.number == 0, differences.first
        (counters,) = _read(connection, COUNTERS)
    outcomes = ("rows", "duplicates", "rejected", "removed")
    assert counters["records"] == sum(counters[name] for name in outcomes)
    assert counters["rejected"] == counters["rejected_rows"]
    return counters


def check_sessions(
    connection: Connection,
    *,
    timeout: float,
    starts: Collection[str] = (),
    ends: Collection[str] = (),
) -> None:
    """Assert that session_metrics follows from clickstream_events by the session rule."""
    expected = sessions(_read(connection, EVENTS), timedelta(seconds=timeout), starts, ends)
    stored = _read(connection, SESSIONS)
    for row in stored:
        assert (row["closed_at"] is None) == (row["close_reason"] is None)
    assert [_without_status(row) for row in stored] == expected


def sessions(
    events: list[Row], timeout: timedelta, starts: Collection[str], ends: Collection[str]
) -> list[Row]:
    """Return the sessions of events, which are in the order of visitor, time and id."""
    folded: list[list[Row]] = []
    for event in events:
        before = folded[-1][-1] if folded else None
        if (
            before is None
            or before["user_id"] != event["user_id"]
            or event["event_time"] - before["event_time"] > timeout
            or event["event_type"] in starts
            or before["event_type"] in ends
        ):
            folded.append([])
        folded[-1].append(event)
    return [_metrics(session, ends) for session in folded]


def _metrics(events: list[Row], ends: Collection[str]) -> Row:
    first, last = events[0], events[-1]
    duration = last["event_time"] - first["event_time"]
    purchases = [event for event in events if event["event_type"] == "purchase"]
    types = Counter(event["event_type"] for event in events)
    pages = [event["page_url"] for event in events if event["page_url"] is not None]
    distinct = {
        "unique_pages": set(pages),
        "products_viewed": _values(events, "product_id", PRODUCT_TYPES),
        "search_queries": _values(events, "search_query", {"search"}),
        "referrers": _values(events, "referrer", set(types)),
    }
    engaged = [event["engaged_ms"] for event in events if event["engaged_ms"] is not None]
    orders = _values(purchases, "order_id", {"purchase"})
    microseconds = (first["event_time"] - EPOCH) // timedelta(microseconds=1)
    name = f"{first['event_id']}:{microseconds}:{first['user_id']}"
    return {
        "session_id": str(uuid.uuid5(NAMESPACE, name)),
        "user_id": first["user_id"],
        "total_events": len(events),
        "event_type_counts": {kind: types[kind] for kind in _shown(types)},
        "first_event_timestamp": first["event_time"],
        "last_event_timestamp": last["event_time"],
        "first_event_id": first["event_id"],
        "last_event_id": last["event_id"],
        "session_duration_minutes": duration.total_seconds() / 60,
        **{name: _shown(values) for name, values in distinct.items()},
        "unique_pages_count": min(len(distinct["unique_pages"]), 10_000),
        "products_viewed_count": min(len(distinct["products_viewed"]), 10_000),
        "unique_referrers_count": min(len(distinct["referrers"]), 10_000),
        "landing_page": pages[0] if pages else None,
        "entry_referrer": next(
            (event["referrer"] for event in events if event["page_url"] is not None), None
        ),
        "exit_page": pages[-1] if pages else None,
        "total_revenue": sum(
            each["price"] * (each["quantity"] or 1)
            for each in purchases
            if each["price"] is not None
        ),
        "orders_count": min(len(orders), 10_000)
        + sum(event["order_id"] is None for event in purchases),
        "user_agent": _earliest(events, "user_agent"),
        "ip_address": _earliest(events, "ip_address"),
        "device_type": _earliest(events, "device_type"),
        "country": _earliest(events, "country"),
        "is_bounce": duration <= timedelta(seconds=10) and not purchases and types["page_view"] < 2,
        "engaged_seconds": Fraction(sum(engaged), 1000) if engaged else None,
        "ended_by_event": last["event_type"] in ends,
    }


def _values(events: list[Row], column: str, types: Collection[str]) -> set[str]:
    return {
        event[column]
        for event in events
        if event["event_type"] in types and event[column] is not None
    }


def _shown(values: Collection[str]) -> list[str]:
    """Return the 1,000 smallest values, or as many of them as fit into 256 KiB of JSON."""
    smallest = sorted(values)[:1000]
    numbers = range(len(smallest) + 1)
    return smallest[: bisect(numbers, 1 << 18, key=lambda n: _json_bytes(smallest[:n])) - 1]


def _json_bytes(values: list[str]) -> int:
    return len(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())


def _earliest(events: list[Row], column: str) -> str | None:
    return next((event[column] for event in events if event[column] is not None), None)


def _without_status(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in STATUS}


def _read(connection: Connection, query: str) -> list[Row]:
    with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(query)
        return [dict(row) for row in cursor.fetchall()]
