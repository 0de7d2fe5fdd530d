"""Loading a stored session of many events without reading them all.

Its row has the counts, and mostly all values of the arrays. Only the keys of first and last values,
and values that the row does not show, are looked up in the events.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from clickstream.clients.postgres import Cursor
from clickstream.model.distinct_values import COUNTED_VALUES, DistinctValues, distinct
from clickstream.model.events import Event
from clickstream.model.sessions import (
    PRODUCT_VIEW_TYPES,
    KeyedValue,
    Session,
    SessionState,
    restore,
)
from clickstream.storage.query_rows import Row, select_rows
from clickstream.storage.session_table import RowVersion, SessionConflictError

# Below this number of events, reading them is as fast.
LARGE_SESSION_EVENTS = 2_000

# Each visitor's last session, if it is large and the visitor's next event comes after its start and
# not more than a timeout after its end.
SELECT_LARGE_SESSIONS = """
    SELECT latest.session_id, latest.xid
    FROM unnest(%(users)s::text[], %(times)s::timestamptz[]) AS next (user_id, event_time)
    CROSS JOIN LATERAL (
        SELECT session_id, xid, total_events, first_event_timestamp, last_event_timestamp
        FROM session_metrics WHERE user_id = next.user_id
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1
    ) AS latest
    WHERE total_events >= %(events)s
      AND next.event_time BETWEEN first_event_timestamp AND last_event_timestamp + %(timeout)s
"""
SELECT_SESSION = """
    SELECT s.user_id, s.xid, s.first_event_timestamp AS first_time, s.first_event_id AS first_id,
           s.last_event_timestamp AS last_time, s.last_event_id AS last_id,
           e.event_type AS last_type, s.total_events, s.event_type_counts, s.total_revenue,
           s.orders_count, s.unique_pages, s.unique_pages_count, s.products_viewed,
           s.products_viewed_count, s.referrers, s.unique_referrers_count AS referrers_count,
           s.search_queries, s.landing_page, s.entry_referrer, s.exit_page, s.user_agent,
           host(s.ip_address) AS ip_address, s.device_type, s.country,
           (s.engaged_seconds * 1000)::bigint AS engaged_ms
    FROM session_metrics s
    JOIN clickstream_events e
      ON (e.event_time, e.event_id) = (s.last_event_timestamp, s.last_event_id)
    WHERE s.session_id = %(session_id)s AND s.xid = %(xid)s
"""
# The events that the row was computed from: without those that this transaction has inserted.
_EVENTS = """
    FROM clickstream_events
    WHERE user_id = %(user_id)s AND event_time BETWEEN %(first_time)s AND %(last_time)s
      AND (event_time, event_id) BETWEEN (%(first_time)s, %(first_id)s)
                                     AND (%(last_time)s, %(last_id)s)
      -- In a database restored into another cluster, an old row may have this transaction's xid.
      AND (xid, stored_at) <> (pg_current_xact_id(), now())
"""
# The smallest values are enough: the number of values is not counted further.
SELECT_DISTINCT = f"""
    SELECT DISTINCT {{column}} COLLATE "C" {_EVENTS}
      AND {{column}} IS NOT NULL AND (%(types)s::text[] IS NULL OR event_type = ANY (%(types)s))
    ORDER BY 1 LIMIT {COUNTED_VALUES}
"""
SELECT_FIRST = f"""
    SELECT event_time, event_id {_EVENTS} AND {{column}} IS NOT NULL
    ORDER BY event_time {{direction}}, event_id {{direction}} LIMIT 1
"""
COUNT_ORDERS_WITHOUT_ID = f"""
    SELECT count(*) {_EVENTS} AND event_type = 'purchase' AND order_id IS NULL
"""


def load_continued(
    cursor: Cursor, next_events: Iterable[Event], timeout: timedelta
) -> list[Session]:
    """Return the last sessions of visitors, if they are large and an event continues them.

    next_events: the first new event of each visitor, inserted by this transaction. The sessions
    are as they were before the events that this transaction has inserted.
    Sessions whose rows do not show all event types are left out.
    Raises SessionConflictError if another consumer changes one of them at this moment.
    """
    next_events = list(next_events)
    values = {
        "users": [event.user_id for event in next_events],
        "times": [event.event_time for event in next_events],
        "events": LARGE_SESSION_EVENTS,
        "timeout": timeout,
    }
    cursor.execute(SELECT_LARGE_SESSIONS, values)
    sessions = [_load(cursor, RowVersion(*row)) for row in cursor.fetchall()]
    return [session for session in sessions if session]


def _load(cursor: Cursor, version: RowVersion) -> Session | None:
    rows = select_rows(cursor, SELECT_SESSION, version._asdict())
    if not rows:
        raise SessionConflictError
    (row,) = rows
    if sum(row["event_type_counts"].values()) != row["total_events"]:
        return None
    session = restore(_Loader(cursor, row).state())
    session.stored_xid = version.xid
    return session


class _Loader:
    """Reads the state of one session. row: a row of SELECT_SESSION."""

    def __init__(self, cursor: Cursor, row: Row) -> None:
        self._cursor = cursor
        self._row = row

    def state(self) -> SessionState:
        """Return the state."""
        row = self._row
        has_purchases = "purchase" in row["event_type_counts"]
        return SessionState(
            user_id=row["user_id"],
            first=(row["first_time"], row["first_id"]),
            last=(row["last_time"], row["last_id"]),
            last_type=row["last_type"],
            total_events=row["total_events"],
            event_types=row["event_type_counts"],
            revenue=row["total_revenue"],
            orders=self._all_values("order_id", ["purchase"]) if has_purchases else (),
            orders_without_id=self._orders_without_id() if has_purchases else 0,
            pages=self._values("unique_pages", "page_url"),
            products=self._values("products_viewed", "product_id", PRODUCT_VIEW_TYPES),
            searches=self._all_values("search_query", ["search"]) if row["search_queries"] else (),
            referrers=self._values("referrers", "referrer"),
            landing_page=self._first("page_url", "landing_page"),
            entry_referrer=row["entry_referrer"],
            exit_page=self._first("page_url", "exit_page", "DESC"),
            user_agent=self._first("user_agent", "user_agent"),
            ip_address=self._first("ip_address", "ip_address"),
            device_type=self._first("device_type", "device_type"),
            country=self._first("country", "country"),
            engaged_ms=row["engaged_ms"],
        )

    def _values(
        self, array: str, column: str, types: Collection[str] | None = None
    ) -> DistinctValues:
        """Return the distinct values of a column; array: the column of the row that shows them."""
        shown = self._row[array]
        if len(shown) == self._row[f"{array}_count"]:
            return distinct(shown)
        return self._all_values(column, types)

    def _all_values(self, column: str, types: Collection[str] | None) -> DistinctValues:
        """Return the distinct values of a column, from the events of these types, or of all."""
        chosen = None if types is None else list(types)
        rows = self._select(SELECT_DISTINCT.format(column=column), types=chosen)
        return distinct(value for (value,) in rows)

    def _first(self, column: str, shown: str, direction: str = "ASC") -> KeyedValue | None:
        """Return the first value of a column, or with DESC the last one, and its key.

        shown: the column of the row that has the value.
        """
        if self._row[shown] is None:
            return None
        ((time, event_id),) = self._select(SELECT_FIRST.format(column=column, direction=direction))
        return (time, event_id), self._row[shown]

    def _orders_without_id(self) -> int:
        ((number,),) = self._select(COUNT_ORDERS_WITHOUT_ID)
        return int(number)

    def _select(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        self._cursor.execute(query, {**self._row, **values})
        return self._cursor.fetchall()
