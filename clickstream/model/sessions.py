"""The session rule, and the metrics of a session.

A visitor's events are ordered by (event_time, event_id). An event starts a session if it is the
visitor's first, or if the gap to the previous event is greater than the timeout (a gap of exactly
the timeout does not split, as in Kafka Streams and Flink), or if its type starts sessions, or if
the type of the previous event ends them.

The rule is stated here and, for whole tables, in storage/session_rule.sql. A property test
compares the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import orjson

from clickstream.model.distinct_values import (
    SHOWN_BYTES,
    SHOWN_VALUES,
    DistinctValues,
    json_of_shown,
    shown,
    shown_and_next,
    with_new_value,
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
# The arrays of a session, each with its bit in Session.changed_arrays.
ARRAYS = {"pages": 1, "products": 2, "searches": 4, "referrers": 8}
ALL_ARRAYS = sum(ARRAYS.values())
# Values of the first or last event that has one.
KEYED_FIELDS = (
    "landing_page",
    "exit_page",
    "user_agent",
    "ip_address",
    "device_type",
    "country",
)
# A session is engaged (GA4) if it lasts longer than this, or has this many page views.
ENGAGED_AFTER = timedelta(seconds=10)
ENGAGED_PAGE_VIEWS = 2
PRODUCT_VIEW_TYPES = frozenset({"page_view", "click", "hover", "scroll", "add_to_cart"})

_MICROSECOND = timedelta(microseconds=1)

# A value and the key of the event that it comes from.
KeyedValue = tuple[Key, str]

# Pages, products and user agents that many sessions have are hardly longer.
MAX_SHARED_CHARACTERS = 256
_equal_text_before = lru_cache(maxsize=20_000)(str)


def shared(text: str) -> str:
    """Return the text itself, or an equal one that was passed before.

    What many sessions have is then in memory once, and is compared faster. Only the last texts are
    kept: sys.intern takes 65 bytes more for each, even if only one session has it.
    """
    return _equal_text_before(text) if len(text) <= MAX_SHARED_CHARACTERS else text


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

        last, last_type: key and type of the visitor's previous event.
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
    Texts that many sessions may have are those that `shared` returns.
    x_key, for each x in KEYED_FIELDS: the key of the event that x comes from, if x is not None.
    stored_xid: the xid of the stored row when it was read; None if the session is not stored.
    changed_arrays: bits of the arrays that changed since the row was stored.
    """

    __slots__ = (
        *SessionState._fields,
        *(f"{name}_key" for name in KEYED_FIELDS),
        "_session_id",
        "changed_arrays",
        "page_views",
        "stored_xid",
    )

    def __init__(self, event: Event) -> None:
        self.user_id = event.user_id
        self._session_id: str | None = None
        self.stored_xid: str | None = None
        self.changed_arrays = ALL_ARRAYS
        self.first = self.last = event.key
        self.last_type = shared(event.event_type)
        self.total_events = 0
        self.event_types: dict[str, int] = {}
        self.page_views = 0
        self.revenue = NO_REVENUE
        self.orders_without_id = 0
        self.orders: DistinctValues = ()
        self.pages: DistinctValues = ()
        self.products: DistinctValues = ()
        self.searches: DistinctValues = ()
        self.referrers: DistinctValues = ()
        self.landing_page: str | None = None
        self.entry_referrer: str | None = None
        self.exit_page: str | None = None
        self.user_agent: str | None = None
        self.ip_address: str | None = None
        self.device_type: str | None = None
        self.country: str | None = None
        self.landing_page_key = self.exit_page_key = self.first
        self.user_agent_key = self.ip_address_key = self.first
        self.device_type_key = self.country_key = self.first
        self.engaged_ms: int | None = None
        self.add(event)
        self.first = self.last  # one object in memory instead of two equal ones

    @property
    def session_id(self) -> str:
        """The session's id, computed from the visitor and the first event."""
        if self._session_id is None:
            self._session_id = session_id(self.user_id, *self.first)
        return self._session_id

    def add(self, event: Event) -> None:
        """Add an event of this session to the metrics."""
        key = event.key
        event_type = shared(event.event_type)
        self.total_events += 1
        if key >= self.last:
            self.last, self.last_type = key, event_type
        elif key < self.first:
            self.first, self._session_id = key, None
        self._add_type(event_type, event)
        if event.referrer is not None and event.referrer not in self.referrers:
            self._add_value("referrers", shared(event.referrer))
        if event.page_url is not None:
            self._add_page(key, shared(event.page_url), event.referrer)
        if event.engaged_ms is not None:
            self.engaged_ms = (self.engaged_ms or 0) + event.engaged_ms
        self._add_client(key, event)

    def _add_type(self, event_type: str, event: Event) -> None:
        types = self.event_types
        types[event_type] = types.get(event_type, 0) + 1
        if len(types) >= 2 * SHOWN_VALUES:
            self.event_types = {name: types[name] for name in shown_and_next(types)}
        if event_type in PRODUCT_VIEW_TYPES:
            self.page_views += event_type == "page_view"
            if event.product_id is not None and event.product_id not in self.products:
                self._add_value("products", shared(event.product_id))
        elif event_type == "purchase":
            self._add_purchase(event)
        elif event_type == "search":
            self._add_search(event.search_query)

    def _add_purchase(self, event: Event) -> None:
        if event.price is not None:
            self.revenue += event.price * (1 if event.quantity is None else event.quantity)
        self.orders_without_id += event.order_id is None
        if event.order_id is not None and event.order_id not in self.orders:
            self.orders, _ = with_new_value(self.orders, event.order_id)

    def _add_search(self, query: str | None) -> None:
        if query is not None and query not in self.searches:
            self._add_value("searches", query)

    def _add_page(self, key: Key, page: str, referrer: str | None) -> None:
        """Add the page of an event. referrer: that of the event, which self.referrers has."""
        if page not in self.pages:
            self._add_value("pages", page)
        if self.landing_page is None or key < self.landing_page_key:
            self.landing_page, self.landing_page_key = page, key
            self.entry_referrer = referrer and shared(referrer)
        if self.exit_page is None or key >= self.exit_page_key:
            self.exit_page, self.exit_page_key = page, key

    def _add_value(self, name: str, value: str) -> None:
        """Add a value that is not in the array of this name."""
        values, is_shown = with_new_value(getattr(self, name), value)
        setattr(self, name, values)
        if is_shown:
            self.changed_arrays |= ARRAYS[name]

    def _add_client(self, key: Key, event: Event) -> None:
        """Add what an event says of the visitor's browser; the earliest values count."""
        value = event.user_agent
        if value is not None and (self.user_agent is None or key < self.user_agent_key):
            self.user_agent, self.user_agent_key = shared(value), key
        value = event.ip_address
        if value is not None and (self.ip_address is None or key < self.ip_address_key):
            self.ip_address, self.ip_address_key = value, key
        value = event.device_type
        if value is not None and (self.device_type is None or key < self.device_type_key):
            self.device_type, self.device_type_key = shared(value), key
        value = event.country
        if value is not None and (self.country is None or key < self.country_key):
            self.country, self.country_key = shared(value), key

    @property
    def is_bounce(self) -> bool:
        """True if the session is not engaged, as Google Analytics 4 defines it."""
        return not (
            self.orders
            or self.orders_without_id
            or self.page_views >= ENGAGED_PAGE_VIEWS
            or self.last[0] - self.first[0] > ENGAGED_AFTER
        )

    def mark_stored(self, xid: str) -> None:
        """Remember that the row of this session was written with this xid."""
        self.stored_xid = xid
        self.changed_arrays = 0


def restore(state: SessionState) -> Session:
    """Return the session that has this state; its stored_xid is None."""
    session = Session.__new__(Session)
    values = state._asdict() | {
        "_session_id": None,
        "stored_xid": None,
        "changed_arrays": ALL_ARRAYS,
        "page_views": state.event_types.get("page_view", 0),
    }
    for name in KEYED_FIELDS:
        values[f"{name}_key"], values[name] = values[name] or (state.first, None)
    for name, value in values.items():
        setattr(session, name, value)
    return session


ARRAY_COLUMNS = ("unique_pages", "products_viewed", "search_queries", "referrers")
# Columns that follow from a session's first event; another first event makes another session.
FIXED_COLUMNS = ("session_id", "user_id", "first_event_timestamp", "first_event_id")
CHANGING_COLUMNS = (
    "last_event_timestamp",
    "last_event_id",
    "total_events",
    "event_type_counts",
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
SESSION_COLUMNS = FIXED_COLUMNS + CHANGING_COLUMNS


def row_of(session: Session, rule: Rule) -> tuple[object, ...]:
    """Return the values of SESSION_COLUMNS; see `changing_values`."""
    return (session.session_id, session.user_id, *session.first, *changing_values(session, rule))


def changing_values(session: Session, rule: Rule) -> tuple[object, ...]:
    """Return the values of CHANGING_COLUMNS; arrays and objects are JSON text.

    An array that did not change since the row was stored is None.
    """
    return (
        session.last[0],
        session.last[1],
        session.total_events,
        _json_of_counts(session.event_types),
        _changed_array(session, "pages"),
        len(session.pages),
        session.landing_page,
        session.entry_referrer,
        session.exit_page,
        session.revenue,
        len(session.orders) + session.orders_without_id,
        _changed_array(session, "products"),
        len(session.products),
        _changed_array(session, "searches"),
        _changed_array(session, "referrers"),
        len(session.referrers),
        session.user_agent,
        session.ip_address,
        session.device_type,
        session.country,
        session.is_bounce,
        None if session.engaged_ms is None else Decimal(session.engaged_ms).scaleb(-3),
        "end_event" if session.last_type in rule.end_events else None,
    )


def _changed_array(session: Session, name: str) -> str | None:
    """Return the array of this name as JSON, or None if it did not change."""
    if session.changed_arrays & ARRAYS[name]:
        return json_of_shown(getattr(session, name))
    return None


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


def _json_of_counts(counts: dict[str, int]) -> str:
    """Return the counts of the types that are shown, as JSON in any order."""
    text = orjson.dumps(counts)
    if len(counts) > SHOWN_VALUES or len(text) > SHOWN_BYTES:
        text = orjson.dumps({name: counts[name] for name in shown(counts)})
    return text.decode()
