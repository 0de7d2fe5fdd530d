"""Figures of the report, read in one snapshot.

Times are aware UTC datetimes. Revenue is an exact Decimal in the currency of the events. Rates and
shares are fractions of 1, and None if there is nothing to divide by. Durations are minutes.
`--json` prints the names of these fields.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from clickstream.indexer.backlog import Backlog


@dataclass(frozen=True, slots=True)
class ReportedRule:
    """Session rule that the stored sessions follow."""

    timeout_seconds: int
    start_events: list[str]
    end_events: list[str]


@dataclass(frozen=True, slots=True)
class Overview:
    """Totals at the head of the report, and the times of the first and last event."""

    events: int
    first_event: datetime | None
    last_event: datetime | None
    sessions: int
    visitors: int
    orders: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """Numbers of sessions by status, and their size, duration and bounce rate."""

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
class EventTypeFigures:
    """Events of one type, and their share of all events."""

    event_type: str
    events: int
    share: float


@dataclass(frozen=True, slots=True)
class TrafficBucket:
    """Number of events from `start` on, for the length of one bucket."""

    start: datetime
    events: int


@dataclass(frozen=True, slots=True)
class TrafficOverTime:
    """Events over time, in consecutive buckets of equal length by the wall clock of the report.

    events_outside: number of events before the first bucket and after the last one.
    """

    bucket_seconds: int
    buckets: list[TrafficBucket]
    events_outside: int


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """Sessions that contain an event of the step's type; the first step is all sessions."""

    step: str
    sessions: int
    share_of_all: float | None
    share_of_step_before: float | None


@dataclass(frozen=True, slots=True)
class RevenueFigures:
    """Revenue and orders, with averages.

    repaired: the part of the revenue that is of order lines with a repaired price or quantity.
    """

    total: Decimal
    repaired: Decimal
    orders: int
    per_order: Decimal | None
    per_session: Decimal | None
    sessions_with_purchase: int
    conversion_rate: float | None


@dataclass(frozen=True, slots=True)
class ProductFigures:
    """Sales of one product. units: the sum of the quantities."""

    product_id: str | None
    product_category: str | None
    units: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class PageFigures:
    """Events of one page: of all addresses with the same path.

    page_url: the address with the most views. views: page_view events. landings, exits: sessions
    that began or ended on the page.
    """

    page_path: str
    page_url: str
    views: int
    events: int
    landings: int
    exits: int


@dataclass(frozen=True, slots=True)
class VisitorFigures:
    """Sessions, events and revenue of one visitor."""

    user_id: str
    sessions: int
    events: int
    revenue: Decimal
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """The columns of session_metrics that lists of sessions show."""

    session_id: str
    user_id: str
    last_event_timestamp: datetime
    session_duration_minutes: float
    total_events: int
    orders_count: int
    total_revenue: Decimal


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """Sessions with the same device type, country, browser, operating system or bot.

    name: None if it is not known.
    """

    name: str | None
    sessions: int
    share: float
    bounce_rate: float
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """Sessions with the same channel, source and medium, or campaign; or of new visitors."""

    name: str
    sessions: int
    share: float
    bounce_rate: float
    orders: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class ConversionFigures:
    """Conversions of one event type; the lines of an order are one conversion of its visitor.

    value: None if no event has a price.
    """

    event_type: str
    conversions: int
    visitors: int
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class VisitSourceFigures:
    """Sessions by where they come from, as the view session_sources says.

    channels: all of them. sources: by source and medium. new_and_returning: the sessions that are
    the first of a visitor, and the later ones.
    """

    channels: list[SourceFigures]
    sources: list[SourceFigures]
    campaigns: list[SourceFigures]
    new_and_returning: list[SourceFigures]
    conversions: list[ConversionFigures]


@dataclass(frozen=True, slots=True)
class TrafficFigures:
    """Totals of some sessions."""

    sessions: int
    events: int
    bounce_rate: float
    orders: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class UserAgentFigures:
    """Figures by bot, browser, operating system and device type of the sessions.

    without_bots: sessions without a known bot; None if there are only bots. unparsed_sessions:
    sessions whose user agent is not parsed yet; refresh_command parses it. bots: by bot_reason.
    browsers, operating_systems, device_types: parsed sessions without bots.
    """

    all_sessions: TrafficFigures
    without_bots: TrafficFigures | None
    unparsed_sessions: int
    refresh_command: str
    bots: list[SegmentFigures]
    browsers: list[SegmentFigures]
    operating_systems: list[SegmentFigures]
    device_types: list[SegmentFigures]


@dataclass(frozen=True, slots=True)
class RejectionFigures:
    """Number of records rejected for one reason, and the command that lists them."""

    reason: str
    records: int
    list_command: str


@dataclass(frozen=True, slots=True)
class RepairFigures:
    """Number of events with a lost or changed value in one field."""

    field: str
    events: int


@dataclass(frozen=True, slots=True)
class SuspectVisitor:
    """A user_id that may stand for many people, whose events are then merged into sessions.

    share: share of all events. is_placeholder: True if the id is a value such as "undefined", False
    if the share alone is suspect.
    """

    user_id: str
    events: int
    sessions: int
    share: float
    is_placeholder: bool


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Numbers of all records ever read, by outcome, and how current the tables and the index are.

    repeated_event_ids: rows whose event_id is stored with another time too, without the first row
    of each id. search: rows that wait to be indexed; None if nothing was ever indexed.
    kept_from: earlier events are not kept; None if all are.
    """

    partitions: int
    records: int
    rows: int
    duplicates: int
    rejected: int
    rejected_by_reason: list[RejectionFigures]
    repaired_by_field: list[RepairFigures]
    repeated_event_ids: int
    suspect_visitors: list[SuspectVisitor]
    removed: int
    late: int
    open_sessions: int
    newest_event: datetime | None
    last_stored: datetime | None
    caught_up: datetime | None
    search: Backlog | None
    kept_from: datetime | None


@dataclass(frozen=True, slots=True)
class SessionBucket:
    """Sessions that began in one bucket of the events over time.

    first: those that are the first of their visitor. engaged: those that are no bounce.
    """

    start: datetime
    sessions: int
    first: int
    engaged: int


@dataclass(frozen=True, slots=True)
class RevenueBucket:
    """Revenue of the purchase events in one bucket of the events over time."""

    start: datetime
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class EngagementFigures:
    """Visitors and engaged sessions, as Google Analytics 4 defines them.

    new_visitors: those whose first session is in the report. returning_visitors: those with a
    session in the report that is not their first. A visitor can be both. engaged_sessions: longer
    than 10 s, with a purchase, or with at least two page views.
    """

    visitors: int
    new_visitors: int
    returning_visitors: int
    sessions: int
    engaged_sessions: int


@dataclass(frozen=True, slots=True)
class DurationFigures:
    """Sessions with a duration of at least `from_seconds`, and shorter than the next one."""

    from_seconds: int
    sessions: int


@dataclass(frozen=True, slots=True)
class WeekHourFigures:
    """Events in one hour of the week, in the report's time zone. weekday: from 1 for Monday."""

    weekday: int
    hour: int
    events: int


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """Events of one category and device type. device_type: None if it is not known."""

    category: str
    device_type: str | None
    events: int


@dataclass(frozen=True, slots=True)
class TransitionFigures:
    """Page views of one path that directly follow one of another path in the same session."""

    from_path: str
    to_path: str
    views: int


@dataclass(frozen=True, slots=True)
class IngestBucket:
    """Events stored from `start` on, for the length of one bucket.

    delay_median, delay_p95: seconds from the time of the event to the time it was stored.
    """

    start: datetime
    events: int
    delay_median: float
    delay_p95: float


@dataclass(frozen=True, slots=True)
class IngestOverTime:
    """Stored events in buckets of equal length, in the hour before the last stored record.

    Buckets without an event are left out.
    """

    bucket_seconds: int
    buckets: list[IngestBucket]


@dataclass(frozen=True, slots=True)
class ChartFigures:
    """Figures that only the HTML page and JSON have. articles, products: by device type."""

    sessions_over_time: list[SessionBucket]
    revenue_over_time: list[RevenueBucket]
    engagement: EngagementFigures
    durations: list[DurationFigures]
    hours: list[WeekHourFigures]
    articles: list[CategoryFigures]
    products: list[CategoryFigures]
    transitions: list[TransitionFigures]
    ingest: IngestOverTime


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one moment.

    since: events that happened and sessions that began from then on; None for all of them.
    time_zone: buckets, weekdays and hours are of its wall clock. latest_orders: the latest sessions
    with an order. visit_sources: None if there are no sessions. user_agents: None if no session has
    one. charts: None if they were not asked for.
    """

    database: str
    generated_at: datetime
    since: datetime | None
    time_zone: ZoneInfo
    rule: ReportedRule | None
    overview: Overview
    sessions: SessionFigures
    event_types: list[EventTypeFigures]
    traffic: TrafficOverTime
    funnel: list[FunnelStep]
    revenue: RevenueFigures
    products: list[ProductFigures]
    pages: list[PageFigures]
    visitors: list[VisitorFigures]
    latest_orders: list[SessionSummary]
    longest_sessions: list[SessionSummary]
    devices: list[SegmentFigures]
    countries: list[SegmentFigures]
    visit_sources: VisitSourceFigures | None
    user_agents: UserAgentFigures | None
    quality: DataQuality
    charts: ChartFigures | None = None
