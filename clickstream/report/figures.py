"""The figures of the report, as read in one snapshot.

Times are aware UTC datetimes, revenue is an exact Decimal in the currency of the events, rates and
shares are fractions of 1 (None of nothing), durations are minutes. `--json` prints these names.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from clickstream.indexer.backlog import Backlog


@dataclass(frozen=True, slots=True)
class Rule:
    """The session rule that the tables follow."""

    timeout_seconds: int
    start_events: list[str]
    end_events: list[str]


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole in a few numbers."""

    events: int
    first_event: datetime | None
    last_event: datetime | None
    sessions: int
    visitors: int
    orders: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class Sessions:
    """Numbers of sessions by status, and what they are like."""

    open: int
    closed_by_timeout: int
    closed_by_end_event: int
    events_mean: float | None
    events_median: float | None
    events_max: int | None
    duration_mean: float | None
    duration_median: float | None
    duration_p95: float | None
    duration_max: float | None
    bounce_rate: float | None


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event."""

    event_type: str
    events: int
    share: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """Events in a stretch of time."""

    start: datetime
    events: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events over time. buckets: one after the other, each so many seconds long."""

    bucket_seconds: int
    buckets: list[Bucket]


@dataclass(frozen=True, slots=True)
class Step:
    """Sessions that have an event of this kind, whatever else they have."""

    step: str
    sessions: int
    share_of_all: float | None
    share_of_step_before: float | None


@dataclass(frozen=True, slots=True)
class Revenue:
    """What was bought."""

    total: Decimal
    orders: int
    per_order: Decimal | None
    per_session: Decimal | None
    sessions_with_purchase: int
    conversion_rate: float | None


@dataclass(frozen=True, slots=True)
class Product:
    """A product that was bought. units: the sum of the quantities."""

    product_id: str | None
    product_category: str | None
    units: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class Page:
    """A page. views: its page_view events; landings, exits: sessions that began, ended there."""

    page_url: str
    views: int
    events: int
    landings: int
    exits: int


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor."""

    user_id: str
    sessions: int
    events: int
    revenue: Decimal
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Segment:
    """Sessions that have one device or country in common. name: None where it is not known."""

    name: str | None
    sessions: int
    share: float
    bounce_rate: float
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for which records were rejected."""

    reason: str
    records: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What became of the records, since the beginning, and how fresh tables and index are.

    search: what waits to be indexed; None where nothing ever was.
    """

    partitions: int
    records: int
    rows: int
    duplicates: int
    rejected: int
    rejected_by_reason: list[Reason]
    late: int
    open_sessions: int
    newest_event: datetime | None
    last_stored: datetime | None
    caught_up: datetime | None
    search: Backlog | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything. since: None for all time, else of which moment on events and sessions count."""

    database: str
    generated_at: datetime
    since: datetime | None
    rule: Rule | None
    overview: Overview
    sessions: Sessions
    event_types: list[EventType]
    traffic: Traffic
    funnel: list[Step]
    revenue: Revenue
    products: list[Product]
    pages: list[Page]
    visitors: list[Visitor]
    devices: list[Segment]
    countries: list[Segment]
    quality: Quality
