"""The session rule, and the metrics of a session.

The rule is stated here and, for whole tables, in session_rule.sql; a property test holds the two
together. An event starts a session when it is the visitor's first, or when the gap to the one
before is greater than the timeout (a gap equal to it stays, as in Kafka Streams and Flink), or
when its type starts sessions, or when the type of the one before ends them. A visitor's events
are ordered by (event_time, event_id).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import nsmallest
from uuid import UUID

import orjson

from clickstream.model.events import EPOCH, Event, Key
from clickstream.model.identifiers import uuid5

# Session ids are version 5 UUIDs of this namespace.
NAMESPACE = UUID("c8766fce-6cb0-4bdb-915f-c5681df65840")

FEW_VALUES = 16
SHOWN_VALUES = 1_000
COUNTED_VALUES = 10_000
ENGAGED_AFTER = timedelta(seconds=10)
ENGAGED_VIEWS = 2
PRODUCT_VIEWS = frozenset({"page_view", "click", "hover", "scroll", "add_to_cart"})

_MICROSECOND = timedelta(microseconds=1)

Seen = tuple[Key, str]
# Distinct values. Few take a fifth of a set's memory as a tuple.
Values = tuple[str, ...] | set[str]


def session_id(user_id: str, first_time: datetime, first_id: str) -> str:
    """The id of the session that begins with this event: UUIDv5 (RFC 9562, section 5.5)."""
    name = f"{first_id}:{(first_time - EPOCH) // _MICROSECOND}:{user_id}"
    return uuid5(NAMESPACE, name.encode())


@dataclass(frozen=True, slots=True)
class Rule:
    """The parameters of the session rule."""

    timeout: timedelta
    start_events: frozenset[str]
    end_events: frozenset[str]

    def starts(self, last: Key, last_type: str, event: Event) -> bool:
        """Whether an event starts a session, given the key and type of the event before it."""
        return (
            event.event_time - last[0] > self.timeout
            or event.event_type in self.start_events
            or last_type in self.end_events
        )

    def divides(self, event: Event) -> bool:
        """Whether an event of this type can divide a session that it falls into."""
        return event.event_type in self.start_events or event.event_type in self.end_events


class Session:
    """The running metrics of one session.

    Every metric depends only on the set of events, so `add` takes them in any order, as long as
    the rule puts them into this session. What a column means is said in schema.sql. A session
    that a crawler made is bounded: no set holds more than twice COUNTED_VALUES.
    """

    __slots__ = (
        "_session_id",
        "country",
        "device_type",
        "event_types",
        "exit_page",
        "first",
        "ip_address",
        "landing_page",
        "last",
        "last_type",
        "orders",
        "orders_without_id",
        "page_views",
        "pages",
        "products",
        "purchased",
        "referrers",
        "revenue",
        "searches",
        "total_events",
        "user_agent",
        "user_id",
    )

    def __init__(self, event: Event) -> None:
        self.user_id = event.user_id
        self._session_id: str | None = None
        self.first = self.last = event.key
        self.last_type = event.event_type
        self.total_events = 0
        self.event_types: dict[str, int] = {}
        self.page_views = 0
        self.purchased = False
        self.revenue = Decimal(0)
        self.orders_without_id = 0
        self.orders: Values = ()
        self.pages: Values = ()
        self.products: Values = ()
        self.searches: Values = ()
        self.referrers: Values = ()
        self.landing_page: Seen | None = None
        self.exit_page: Seen | None = None
        self.user_agent: Seen | None = None
        self.ip_address: Seen | None = None
        self.device_type: Seen | None = None
        self.country: Seen | None = None
        self.add(event)

    @property
    def session_id(self) -> str:
        """The id, a function of the visitor and the first event."""
        if self._session_id is None:
            self._session_id = session_id(self.user_id, *self.first)
        return self._session_id

    def add(self, event: Event) -> None:
        """Count an event of this session."""
        key = event.key
        self.total_events += 1
        if key >= self.last:
            self.last, self.last_type = key, event.event_type
        elif key < self.first:
            self.first, self._session_id = key, None
        self._add_type(event)
        self._add_page(key, event.page_url)
        if event.referrer is not None:
            self.referrers = _with(self.referrers, event.referrer)
        self.user_agent = _first(self.user_agent, key, event.user_agent)
        self.ip_address = _first(self.ip_address, key, event.ip_address)
        self.device_type = _first(self.device_type, key, event.device_type)
        self.country = _first(self.country, key, event.country)

    def _add_type(self, event: Event) -> None:
        kind = event.event_type
        self.event_types[kind] = self.event_types.get(kind, 0) + 1
        if len(self.event_types) >= 2 * SHOWN_VALUES:
            self.event_types = _smallest_types(self.event_types)
        if kind in PRODUCT_VIEWS:
            self.page_views += kind == "page_view"
            if event.product_id is not None:
                self.products = _with(self.products, event.product_id)
        elif kind == "purchase":
            self._add_purchase(event)
        elif kind == "search" and event.search_query is not None:
            self.searches = _with(self.searches, event.search_query)

    def _add_purchase(self, event: Event) -> None:
        self.purchased = True
        if event.price is not None:
            self.revenue += event.price * (1 if event.quantity is None else event.quantity)
        if event.order_id is None:
            self.orders_without_id += 1
        else:
            self.orders = _with(self.orders, event.order_id)

    def _add_page(self, key: Key, page: str | None) -> None:
        if page is None:
            return
        self.pages = _with(self.pages, page)
        self.landing_page = _first(self.landing_page, key, page)
        if self.exit_page is None or key >= self.exit_page[0]:
            self.exit_page = (key, page)

    @property
    def is_bounce(self) -> bool:
        """Not engaged, in the sense of Google Analytics 4."""
        return not (
            self.purchased
            or self.page_views >= ENGAGED_VIEWS
            or self.last[0] - self.first[0] > ENGAGED_AFTER
        )

    def row(self, rule: Rule) -> tuple[object, ...]:
        """The values of COLUMNS; sets and counts as JSON text."""
        return (
            self.session_id,
            self.user_id,
            self.total_events,
            _json(_smallest_types(self.event_types)),
            self.first[0],
            self.last[0],
            self.first[1],
            self.last[1],
            _shown(self.pages),
            _counted(self.pages),
            _value(self.landing_page),
            _value(self.exit_page),
            self.revenue,
            _counted(self.orders) + self.orders_without_id,
            _shown(self.products),
            _counted(self.products),
            _shown(self.searches),
            _shown(self.referrers),
            _counted(self.referrers),
            _value(self.user_agent),
            _value(self.ip_address),
            _value(self.device_type),
            _value(self.country),
            self.is_bounce,
            "end_event" if self.last_type in rule.end_events else None,
        )


COLUMNS = (
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
    "close_reason",
)


def fold(events: Iterable[Event], rule: Rule) -> list[Session]:
    """The sessions of one visitor's events, which must be in the order of their keys."""
    sessions: list[Session] = []
    for event in events:
        extend(sessions, event, rule)
    return sessions


def extend(sessions: list[Session], event: Event, rule: Rule) -> None:
    """Add a visitor's next event to the last of the sessions, or begin another one with it."""
    if sessions and not rule.starts(sessions[-1].last, sessions[-1].last_type, event):
        sessions[-1].add(event)
    else:
        sessions.append(Session(event))


def _first(seen: Seen | None, key: Key, value: str | None) -> Seen | None:
    """The value of the earliest event that has one."""
    if value is None or (seen is not None and seen[0] <= key):
        return seen
    return key, value


def _with(values: Values, value: str) -> Values:
    """The values and one more, of which only the COUNTED_VALUES smallest matter."""
    if value in values:
        return values
    if isinstance(values, tuple):
        return (*values, value) if len(values) < FEW_VALUES else {*values, value}
    values.add(value)
    if len(values) >= 2 * COUNTED_VALUES:
        return set(nsmallest(COUNTED_VALUES, values))
    return values


def _smallest_types(counts: dict[str, int]) -> dict[str, int]:
    if len(counts) <= SHOWN_VALUES:
        return counts
    return {kind: counts[kind] for kind in nsmallest(SHOWN_VALUES, counts)}


def _shown(values: Values) -> str:
    return _json(sorted(values)[:SHOWN_VALUES]) if values else "[]"


def _counted(values: Values) -> int:
    return min(len(values), COUNTED_VALUES)


def _value(seen: Seen | None) -> str | None:
    return None if seen is None else seen[1]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
