"""The session rule, and the metrics of a session.

A visitor's events are ordered by (event_time, event_id). An event starts a session if it is the
visitor's first, or if the gap to the event before is greater than the timeout (a gap of exactly
the timeout does not split, as in Kafka Streams and Flink), or if its type starts sessions, or if
the type of the event before ends them.

The rule is stated here and, for whole tables, in storage/session_rule.sql. A property test
compares the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from sys import intern
from typing import NamedTuple
from uuid import UUID

import orjson

from clickstream.model.distinct_values import (
    SHOWN_VALUES,
    DistinctValues,
    ManyValues,
    count,
    same_text,
    shown,
    shown_and_next,
    with_value,
)
from clickstream.model.events import EPOCH, Event, Key
from clickstream.model.identifiers import uuid5

# Session ids are UUIDs of version 5 in this namespace.
NAMESPACE = UUID("c8766fce-6cb0-4bdb-915f-c5681df65840")

# Grows if the metrics of the same events change: stored sessions must then be recomputed.
# 2: arrays and event_type_counts show at most 256 KiB. 3: entry_referrer and engaged_seconds.
METRICS_VERSION = 3

# Most sessions share it: they have no purchase.
NO_REVENUE = Decimal(0)
# In place of an array, as JSON text: the row keeps the array that it has.
AS_STORED = "null"
# A session is engaged (GA4) if it lasts longer than this, or has this many page views.
ENGAGED_AFTER = timedelta(seconds=10)
ENGAGED_PAGE_VIEWS = 2
PRODUCT_VIEW_TYPES = frozenset({"page_view", "click", "hover", "scroll", "add_to_cart"})

_MICROSECOND = timedelta(microseconds=1)

# A value and the key of the event that it comes from.
KeyedValue = tuple[Key, str]


def session_id(user_id: str, first_time: datetime, first_id: str) -> str:
    """Return the id of the session that starts with this event: a UUID of version 5."""
    name = f"{first_id}:{(first_time - EPOCH) // _MICROSECOND}:{user_id}"
    return uuid5(NAMESPACE, name.encode())


@dataclass(frozen=True, slots=True)
class Rule:
    """The parameters of the session rule."""

    timeout: timedelta
    start_events: frozenset[str]
    end_events: frozenset[str]

    def starts(self, last: Key, last_type: str, event: Event) -> bool:
        """Return True if the event starts a session.

        last, last_type: key and type of the visitor's event before it.
        """
        return (
            event.event_time - last[0] > self.timeout
            or event.event_type in self.start_events
            or last_type in self.end_events
        )

    def is_boundary(self, event: Event) -> bool:
        """Return True if the event's type starts or ends sessions."""
        return event.event_type in self.start_events or event.event_type in self.end_events


class SessionState(NamedTuple):
    """Everything that the metrics of a session are computed from; names as in Session."""

    user_id: str
    first: Key
    last: Key
    last_type: str
    total_events: int
    event_types: dict[str, int]
    revenue: Decimal
    orders: DistinctValues
    orders_without_id: int
    pages: DistinctValues
    products: DistinctValues
    searches: DistinctValues
    referrers: DistinctValues
    landing_page: KeyedValue | None
    entry_referrer: str | None
    exit_page: KeyedValue | None
    user_agent: KeyedValue | None
    ip_address: KeyedValue | None
    device_type: KeyedValue | None
    country: KeyedValue | None
    engaged_ms: int | None


class Session:
    """The running metrics of one session; schema.sql explains each column.

    Metrics depend only on the set of events: `add` takes them in any order, in bounded memory.
    stored_xid: the xid of the stored row when it was read; None if the session is not stored.
    """

    __slots__ = (*SessionState._fields, "_session_id", "page_views", "purchased", "stored_xid")

    def __init__(self, event: Event) -> None:
        self.user_id = event.user_id
        self._session_id: str | None = None
        self.stored_xid: str | None = None
        self.first = self.last = event.key
        self.last_type = intern(event.event_type)
        self.total_events = 0
        self.event_types: dict[str, int] = {}
        self.page_views = 0
        self.purchased = False
        self.revenue = NO_REVENUE
        self.orders_without_id = 0
        self.orders: DistinctValues = ()
        self.pages: DistinctValues = ()
        self.products: DistinctValues = ()
        self.searches: DistinctValues = ()
        self.referrers: DistinctValues = ()
        self.landing_page: KeyedValue | None = None
        self.entry_referrer: str | None = None
        self.exit_page: KeyedValue | None = None
        self.user_agent: KeyedValue | None = None
        self.ip_address: KeyedValue | None = None
        self.device_type: KeyedValue | None = None
        self.country: KeyedValue | None = None
        self.engaged_ms: int | None = None
        self.add(event)

    @property
    def session_id(self) -> str:
        """The session's id, computed from the visitor and the first event."""
        if self._session_id is None:
            self._session_id = session_id(self.user_id, *self.first)
        return self._session_id

    def add(self, event: Event) -> None:
        """Add an event of this session to the metrics."""
        key = event.key
        event_type = intern(event.event_type)
        self.total_events += 1
        if key >= self.last:
            self.last, self.last_type = key, event_type
        elif key < self.first:
            self.first, self._session_id = key, None
        self._add_type(event_type, event)
        if event.referrer is not None:
            self.referrers = with_value(self.referrers, event.referrer)
        if event.page_url is not None:
            self._add_page(key, event.page_url, event.referrer)
        if event.engaged_ms is not None:
            self.engaged_ms = (self.engaged_ms or 0) + event.engaged_ms
        self.user_agent = _earliest_shared(self.user_agent, key, event.user_agent)
        self.ip_address = _earliest(self.ip_address, key, event.ip_address)
        self.device_type = _earliest_shared(self.device_type, key, event.device_type)
        self.country = _earliest_shared(self.country, key, event.country)

    def _add_type(self, event_type: str, event: Event) -> None:
        self.event_types[event_type] = self.event_types.get(event_type, 0) + 1
        if len(self.event_types) >= 2 * SHOWN_VALUES:
            self.event_types = {n: self.event_types[n] for n in shown_and_next(self.event_types)}
        if event_type in PRODUCT_VIEW_TYPES:
            self.page_views += event_type == "page_view"
            if event.product_id is not None:
                self.products = with_value(self.products, event.product_id)
        elif event_type == "purchase":
            self._add_purchase(event)
        elif event_type == "search" and event.search_query is not None:
            self.searches = with_value(self.searches, event.search_query)

    def _add_purchase(self, event: Event) -> None:
        self.purchased = True
        if event.price is not None:
            self.revenue += event.price * (1 if event.quantity is None else event.quantity)
        self.orders_without_id += event.order_id is None
        if event.order_id is not None:
            self.orders = with_value(self.orders, event.order_id)

    def _add_page(self, key: Key, page: str, referrer: str | None) -> None:
        """Add the page of an event. referrer: that of the event, which self.referrers has."""
        self.pages = with_value(self.pages, page)
        if self.landing_page is None or key < self.landing_page[0]:
            self.landing_page = (key, page)
            self.entry_referrer = referrer and same_text(self.referrers, referrer)
        if self.exit_page is None or key >= self.exit_page[0]:
            self.exit_page = (key, same_text(self.pages, page))

    @property
    def is_bounce(self) -> bool:
        """True if the session is not engaged, as Google Analytics 4 defines it."""
        return not (
            self.purchased
            or self.page_views >= ENGAGED_PAGE_VIEWS
            or self.last[0] - self.first[0] > ENGAGED_AFTER
        )

    def mark_stored(self, xid: str) -> None:
        """Remember that the row of this session was written with this xid."""
        self.stored_xid = xid
        for values in (self.pages, self.products, self.searches, self.referrers):
            if isinstance(values, ManyValues):
                values.is_stored = True

    def row(self, rule: Rule) -> tuple[object, ...]:
        """Return the values of SESSION_COLUMNS; arrays and objects are JSON text.

        A large array that is stored already is AS_STORED.
        """
        return (
            self.session_id,
            self.user_id,
            self.total_events,
            _json({name: self.event_types[name] for name in shown(self.event_types)}),
            self.first[0],
            self.last[0],
            self.first[1],
            self.last[1],
            _json_array(self.pages),
            count(self.pages),
            _value(self.landing_page),
            self.entry_referrer,
            _value(self.exit_page),
            self.revenue,
            count(self.orders) + self.orders_without_id,
            _json_array(self.products),
            count(self.products),
            _json_array(self.searches),
            _json_array(self.referrers),
            count(self.referrers),
            _value(self.user_agent),
            _value(self.ip_address),
            _value(self.device_type),
            _value(self.country),
            self.is_bounce,
            None if self.engaged_ms is None else Decimal(self.engaged_ms).scaleb(-3),
            "end_event" if self.last_type in rule.end_events else None,
        )


def restore(state: SessionState) -> Session:
    """Return the session that has this state; its stored_xid is None."""
    session = Session.__new__(Session)
    derived = {
        "_session_id": None,
        "stored_xid": None,
        "page_views": state.event_types.get("page_view", 0),
        "purchased": "purchase" in state.event_types,
    }
    for name, value in (state._asdict() | derived).items():
        setattr(session, name, value)
    return session


ARRAY_COLUMNS = ("unique_pages", "products_viewed", "search_queries", "referrers")
SESSION_COLUMNS = (
    "session_id",
    "user_id",
    "total_events",
    "event_type_counts",
    "first_event_timestamp",
    "last_event_timestamp",
    "first_event_id",
    "last_event_id",
    "unique_pages",
    "unique_pages_count",
    "landing_page",
    "entry_referrer",
    "exit_page",
    "total_revenue",
    "orders_count",
    "products_viewed",
    "products_viewed_count",
    "search_queries",
    "referrers",
    "unique_referrers_count",
    "user_agent",
    "ip_address",
    "device_type",
    "country",
    "is_bounce",
    "engaged_seconds",
    "close_reason",
)


def fold(events: Iterable[Event], rule: Rule) -> list[Session]:
    """Return the sessions of one visitor's events.

    events: in the order of their keys.
    """
    sessions: list[Session] = []
    for event in events:
        extend(sessions, event, rule)
    return sessions


def extend(sessions: list[Session], event: Event, rule: Rule) -> None:
    """Add a visitor's next event to the last session, or start a new session with it.

    sessions: the visitor's sessions in order; changed in place.
    """
    if sessions and not rule.starts(sessions[-1].last, sessions[-1].last_type, event):
        sessions[-1].add(event)
    else:
        sessions.append(Session(event))


def _earliest(earliest: KeyedValue | None, key: Key, value: str | None) -> KeyedValue | None:
    """Return the value of the earliest event that has one."""
    if value is None or (earliest is not None and earliest[0] <= key):
        return earliest
    return key, value


def _earliest_shared(earliest: KeyedValue | None, key: Key, value: str | None) -> KeyedValue | None:
    """Return the earliest value like `_earliest`, as one text that all equal values share."""
    found = _earliest(earliest, key, value)
    return found if found is earliest or found is None else (key, intern(found[1]))


def _json_array(values: DistinctValues) -> str:
    if isinstance(values, ManyValues) and values.is_stored:
        return AS_STORED
    return _json(shown(values)) if values else "[]"


def _value(keyed: KeyedValue | None) -> str | None:
    return None if keyed is None else keyed[1]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
