"""Content of the report, section by section, the same for terminal and HTML.

Texts of visitors are as they were sent: html_page.py and terminal.py make them safe to show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo

from clickstream.durations import format_duration, format_minute, format_time
from clickstream.indexer.backlog import MAX_COUNTED_ROWS, Backlog
from clickstream.report.models import (
    DataQuality,
    Report,
    SegmentFigures,
    SourceFigures,
    TrafficOverTime,
    UserAgentFigures,
    VisitSourceFigures,
)
from clickstream.report.number_format import age, minutes, money, number, percent
from clickstream.report.what_if import WhatIf
from clickstream.untrusted_text import clip

Facts = Sequence[tuple[str, str]]

NOT_KNOWN = "(unknown)"
SHOWN_ID_CHARACTERS = 40
SHOWN_VISITOR_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Section:
    """A title with facts (name and sentence) and a table; facts or table may be empty.

    facts: a name that is equal to the one above it is shown once. columns: the first holds names,
    the others values. bars: the length of a bar for each row, from 0 to 1.
    whole_names: the names are ids that people copy, so none of them is cut.
    """

    title: str
    facts: Facts = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    bars: Sequence[float] = ()
    whole_names: bool = False


def key_figures(report: Report) -> Facts:
    """Return the totals at the head of the report."""
    overview = report.overview
    return (
        ("events", number(overview.events)),
        ("sessions", number(overview.sessions)),
        ("visitors", number(overview.visitors)),
        ("orders", number(overview.orders)),
        ("revenue", money(overview.revenue)),
    )


def period(report: Report) -> str:
    """Return the time range of the events, or the lower bound that --since sets."""
    zone = report.time_zone
    if report.since is not None:
        return (
            f"events that happened and sessions that began since {format_time(report.since, zone)}"
        )
    first, last = report.overview.first_event, report.overview.last_event
    if not first or not last:
        return "no events yet"
    return f"{format_time(first, zone)} to {format_time(last, zone)}"


def traffic_title(traffic: TrafficOverTime) -> str:
    """Return the title of the chart of events over time."""
    return f"Events per {format_duration(timedelta(seconds=traffic.bucket_seconds))}"


def outside_note(traffic: TrafficOverTime) -> str:
    """Return the end of the chart's caption: how many events it does not show, if there are any."""
    if not traffic.events_outside:
        return ""
    return f"; events outside: {number(traffic.events_outside)}"


def sections(report: Report) -> list[Section]:
    """Return the sections in reading order, without those that are empty."""
    all_sections = [
        _sessions(report),
        _event_types(report),
        _funnel(report),
        _revenue(report),
        _pages(report),
        _visitors(report),
        _latest_orders(report),
        _longest_sessions(report),
        _segments("Devices", "device", report.devices),
        _segments("Countries", "country", report.countries),
        *(_visit_sources(report.visit_sources) if report.visit_sources else ()),
        *(_user_agents(report.user_agents) if report.user_agents else ()),
        _quality(report),
    ]
    return [section for section in all_sections if section.facts or section.rows]


def bar_lengths(numbers: Sequence[int]) -> list[float]:
    """Return the length of a bar for each number, from 0 to 1."""
    highest = max(numbers, default=0) or 1
    return [number / highest for number in numbers]


def _sessions(report: Report) -> Section:
    figures = report.sessions
    if not report.overview.sessions:
        return Section("Sessions")
    facts = (
        ("rule", _rule(report)),
        (
            "status",
            f"{number(figures.open)} open, {number(figures.closed_by_timeout)} closed by timeout, "
            f"{number(figures.closed_by_end_event)} by an end event",
        ),
        (
            "events",
            f"{number(figures.events_mean)} on average, {number(figures.events_median)} median, "
            f"maximum {number(figures.events_max)}",
        ),
        (
            "duration",
            f"{minutes(figures.duration_mean)} on average, "
            f"{minutes(figures.duration_median)} median",
        ),
        (
            "duration",
            f"95% are shorter than {minutes(figures.duration_p95)}, "
            f"maximum {minutes(figures.duration_max)}",
        ),
        (
            "bounces",
            f"{percent(figures.bounce_rate)}: up to 10 s, no purchase, at most one page view",
        ),
    )
    return Section("Sessions", facts)


def _rule(report: Report) -> str:
    rule = report.rule
    if rule is None:
        return "none stored"
    parts = [
        f"more than {format_duration(timedelta(seconds=rule.timeout_seconds))} without an event"
    ]
    parts += [f"before {name}" for name in rule.start_events]
    parts += [f"after {name}" for name in rule.end_events]
    return f"a session ends after {', or '.join(parts)}"


def _event_types(report: Report) -> Section:
    types = report.event_types
    return Section(
        "Event types",
        columns=("type", "events", "share"),
        rows=[(each.event_type, number(each.events), percent(each.share)) for each in types],
        bars=bar_lengths([each.events for each in types]),
    )


def _funnel(report: Report) -> Section:
    if not report.revenue.orders and not any(step.sessions for step in report.funnel[2:]):
        return Section("Funnel")
    return Section(
        "Funnel",
        facts=[("orders", number(report.revenue.orders))],
        columns=("sessions with", "sessions", "of all", "of step before"),
        rows=[
            (
                "any event" if step.step == "session" else step.step,
                number(step.sessions),
                percent(step.share_of_all),
                percent(step.share_of_step_before),
            )
            for step in report.funnel
        ],
        bars=bar_lengths([step.sessions for step in report.funnel]),
    )


def _revenue(report: Report) -> Section:
    figures = report.revenue
    if not report.products and not figures.orders:
        return Section("Revenue")
    repaired = "of it comes from lines with a repaired price or quantity"
    facts = (
        ("total", f"{money(figures.total)} in {number(figures.orders)} orders"),
        *([("total", f"{money(figures.repaired)} {repaired}")] if figures.repaired else []),
        (
            "average",
            f"{money(figures.per_order)} per order, {money(figures.per_session)} per session",
        ),
        (
            "conversion",
            f"{percent(figures.conversion_rate)}: {number(figures.sessions_with_purchase)} "
            "sessions with a purchase",
        ),
    )
    return Section(
        "Revenue",
        facts,
        columns=("top products", "units", "revenue"),
        rows=[
            (
                ", ".join(filter(None, (each.product_id or NOT_KNOWN, each.product_category))),
                number(each.units),
                money(each.revenue),
            )
            for each in report.products
        ],
    )


def _pages(report: Report) -> Section:
    return Section(
        "Top pages",
        columns=("page", "views", "events", "landings", "exits"),
        rows=[
            (page.page_path, *map(number, (page.views, page.events, page.landings, page.exits)))
            for page in report.pages
        ],
    )


def _visitors(report: Report) -> Section:
    return Section(
        "Top visitors",
        columns=("visitor", "sessions", "events", "revenue", "last seen"),
        rows=[
            (
                each.user_id,
                number(each.sessions),
                number(each.events),
                money(each.revenue),
                format_time(each.last_seen, report.time_zone),
            )
            for each in report.visitors
        ],
    )


def _latest_orders(report: Report) -> Section:
    return Section(
        "Latest sessions with orders",
        columns=("session", "visitor", "revenue", "last event"),
        rows=[
            (
                each.session_id,
                clip(each.user_id, SHOWN_VISITOR_CHARACTERS),
                money(each.total_revenue),
                format_minute(each.last_event_timestamp, report.time_zone),
            )
            for each in report.latest_orders
        ],
        whole_names=True,
    )


def _longest_sessions(report: Report) -> Section:
    return Section(
        "Longest sessions",
        columns=("session", "visitor", "duration", "events"),
        rows=[
            (
                each.session_id,
                clip(each.user_id, SHOWN_VISITOR_CHARACTERS),
                minutes(each.session_duration_minutes),
                number(each.total_events),
            )
            for each in report.longest_sessions
        ],
        whole_names=True,
    )


def _segments(title: str, column: str, segments: Sequence[SegmentFigures]) -> Section:
    return Section(
        title,
        columns=(column, "sessions", "share", "bounces", "revenue"),
        rows=[
            (
                each.name or NOT_KNOWN,
                number(each.sessions),
                percent(each.share),
                percent(each.bounce_rate),
                money(each.revenue),
            )
            for each in segments
        ],
        bars=bar_lengths([each.sessions for each in segments]),
    )


def _visit_sources(figures: VisitSourceFigures) -> Iterator[Section]:
    yield _sources("Channels", "channel", figures.channels)
    yield _sources("Sources", "source / medium", figures.sources)
    yield _sources("Campaigns", "campaign", figures.campaigns)
    yield _sources("New and returning visitors", "visit", figures.new_and_returning)
    yield Section(
        "Conversions",
        columns=("event type", "conversions", "visitors", "value"),
        rows=[
            (each.event_type, *map(number, (each.conversions, each.visitors)), money(each.value))
            for each in figures.conversions
        ],
    )


def _sources(title: str, column: str, sources: Sequence[SourceFigures]) -> Section:
    return Section(
        title,
        columns=(column, "sessions", "share", "bounces", "orders", "revenue"),
        rows=[
            (
                each.name,
                number(each.sessions),
                percent(each.share),
                percent(each.bounce_rate),
                number(each.orders),
                money(each.revenue),
            )
            for each in sources
        ],
        bars=bar_lengths([each.sessions for each in sources]),
    )


def _user_agents(figures: UserAgentFigures) -> Iterator[Section]:
    yield _bots(figures)
    yield _segments("Top bots", "bot", figures.bots)
    yield _segments("Browsers", "browser", figures.browsers)
    yield _segments("Operating systems", "operating system", figures.operating_systems)
    yield _segments("Device types", "device type", figures.device_types)


def _bots(figures: UserAgentFigures) -> Section:
    unparsed = number(figures.unparsed_sessions)
    facts = (
        ("not known", f"the user agents of {unparsed} sessions are not parsed; to do it:"),
        ("not known", figures.refresh_command),
    )
    totals = {"all": figures.all_sessions, "without bots": figures.without_bots}
    return Section(
        "Bots",
        facts if figures.unparsed_sessions else (),
        columns=("traffic", "sessions", "events", "bounces", "orders", "revenue"),
        rows=[
            (
                name,
                number(each.sessions),
                number(each.events),
                percent(each.bounce_rate),
                number(each.orders),
                money(each.revenue),
            )
            for name, each in totals.items()
            if each
        ],
    )


def _quality(report: Report) -> Section:
    figures, now, zone = report.quality, report.generated_at, report.time_zone
    facts = [
        ("records", f"{number(figures.records)} read from {number(figures.partitions)} partitions"),
        (
            "outcome",
            f"{number(figures.rows)} rows + {number(figures.duplicates)} duplicates + "
            f"{number(figures.rejected)} rejected{_removed(figures)}{_balance(figures)}",
        ),
        *_rejections(figures),
        *_repairs(figures),
        *_suspicions(figures),
        ("late", f"{number(figures.late)} rows far behind the newest event of their partition"),
        ("open", f"{number(figures.open_sessions)} sessions"),
        ("newest event", age(figures.newest_event, now, zone)),
        ("last stored", age(figures.last_stored, now, zone)),
        ("caught up", age(figures.caught_up, now, zone)),
        *([("search", _backlog(figures.search))] if figures.search else []),
        *_retention(figures, zone),
    ]
    return Section("Data quality, since the beginning", facts)


def _rejections(figures: DataQuality) -> Iterator[tuple[str, str]]:
    for each in figures.rejected_by_reason:
        yield "rejected", f"{number(each.records)} {each.reason}"
    for each in figures.rejected_by_reason[:1]:
        yield "rejected", "to list them:"
        yield "rejected", each.list_command


def _repairs(figures: DataQuality) -> Iterator[tuple[str, str]]:
    fields = ", ".join(f"{number(each.events)} {each.field}" for each in figures.repaired_by_field)
    if fields:
        yield "repaired", f"{fields}: the values as sent are in the column properties"


def _suspicions(figures: DataQuality) -> Iterator[tuple[str, str]]:
    """Yield the signs that other figures of the report may be wrong."""
    if figures.repeated_event_ids:
        yield (
            "event ids",
            f"{number(figures.repeated_event_ids)} rows have an event_id that is stored with "
            "another time too: events that were sent again with a new time count twice",
        )
    for each in figures.suspect_visitors:
        why = (
            "it looks like a placeholder, which merges strangers into one session"
            if each.is_placeholder
            else "if it stands for many people, they are merged into one session"
        )
        yield (
            "visitors",
            f'"{clip(each.user_id, SHOWN_ID_CHARACTERS)}" has {number(each.events)} events '
            f"({percent(each.share)}): {why}",
        )


def _backlog(waiting: Backlog) -> str:
    if waiting.caught_up:
        return "everything is indexed"
    at_least = "at least " if waiting.rows >= MAX_COUNTED_ROWS else ""
    return (
        f"{at_least}{number(waiting.rows)} rows to be indexed, the oldest waiting for "
        f"{format_duration(timedelta(seconds=round(waiting.seconds)))}"
    )


def _retention(figures: DataQuality, zone: tzinfo) -> Iterator[tuple[str, str]]:
    if figures.kept_from:
        yield "kept", f"events before {format_time(figures.kept_from, zone)} are not kept"


def _removed(figures: DataQuality) -> str:
    return f" + {number(figures.removed)} removed" if figures.removed else ""


def _balance(figures: DataQuality) -> str:
    outcomes = figures.rows + figures.duplicates + figures.rejected + figures.removed
    if figures.records == outcomes:
        return ""
    return ", which does not add up: see --verify"


def what_if_section(found: WhatIf) -> Section:
    """Return the figures of the sessions under the current and another timeout, side by side."""
    pairs = (found.current, found.other)
    lengths = [format_duration(timedelta(seconds=each.timeout_seconds)) for each in pairs]
    return Section(
        "Sessions under another timeout",
        facts=[("since", format_time(found.since))] if found.since else [],
        columns=("timeout", f"{lengths[0]} (now)", lengths[1], "change"),
        rows=[
            (
                "sessions",
                *(number(each.sessions) for each in pairs),
                _change(found.current.sessions, found.other.sessions),
            ),
            (
                "mean duration",
                *(minutes(each.duration_mean) for each in pairs),
                _change(found.current.duration_mean, found.other.duration_mean),
            ),
            (
                "events per session",
                *(number(each.events_mean) for each in pairs),
                _change(found.current.events_mean, found.other.events_mean),
            ),
            (
                "bounce rate",
                *(percent(each.bounce_rate) for each in pairs),
                f"{100 * (found.other.bounce_rate - found.current.bounce_rate):+.1f} points",
            ),
        ],
    )


def _change(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.1f}%" if before else ""
