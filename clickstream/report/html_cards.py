"""Content of the HTML page: groups of cards, each with a chart, facts and a table.

A card without figures is left out, and so is a group without cards.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

from clickstream.durations import format_duration, format_time
from clickstream.report.html_charts import (
    BarChart,
    Chart,
    ColumnChart,
    FlowChart,
    Heatmap,
    Series,
    TimeChart,
)
from clickstream.report.models import (
    CategoryFigures,
    ChartFigures,
    IngestOverTime,
    Report,
    SegmentFigures,
    SourceFigures,
    UserAgentFigures,
)
from clickstream.report.number_format import minutes, money, number, percent
from clickstream.report.sections import (
    NOT_KNOWN,
    Facts,
    Section,
    outside_note,
    sections,
    traffic_title,
)

# The section whose facts are in the card of the durations.
SESSIONS = "Sessions"
QUALITY = "Data quality, since the beginning"
LONGEST_SESSIONS = "Longest sessions"
LATEST_ORDERS = "Latest sessions with orders"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS = tuple(f"{hour:02}" for hour in range(24))


@dataclass(frozen=True, slots=True)
class Table:
    """A table under a chart. The first column has names. titles: tooltips of these names."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    titles: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """A box of the page. note: under the title. size: its width in a row of a wide screen.

    The sizes are third, half, two-thirds and full.
    """

    title: str
    note: str = ""
    chart: Chart | None = None
    facts: Facts = ()
    table: Table | None = None
    size: str = "half"


@dataclass(frozen=True, slots=True)
class Group:
    """Cards under one heading."""

    title: str
    cards: Sequence[Card]


def groups(report: Report) -> list[Group]:
    """Return the groups in reading order. report: with charts."""
    charts = report.charts
    if charts is None:
        raise ValueError("the report was read without charts")
    texts = {section.title: section for section in sections(report)}
    found = {
        "Traffic": _traffic(report, charts, texts),
        "Where visits come from": _sources(report, texts),
        "Visitors and sessions": _visits(report, charts, texts),
        "Pages": _pages(report, charts),
        "Shop": _shop(report, charts, texts),
        "Audience": _audience(report, charts, texts),
        "Data": _data(report, charts, texts),
    }
    filled = [Group(title, list(cards)) for title, cards in found.items()]
    shown = {SESSIONS, QUALITY, *(card.title for group in filled for card in group.cards)}
    others = Group("Other", [_card(each) for title, each in texts.items() if title not in shown])
    return [group for group in (*filled, others) if group.cards]


def _card(section: Section) -> Card:
    """Return a section without a chart; its table is shown."""
    return Card(section.title, facts=section.facts, table=_table(section))


def _table(section: Section | None) -> Table | None:
    return Table(section.columns, section.rows) if section and section.rows else None


# == Traffic ====================================================================================


def _traffic(report: Report, charts: ChartFigures, texts: Mapping[str, Section]) -> Iterable[Card]:
    traffic = report.traffic
    starts = [bucket.start for bucket in traffic.buckets]
    events = [bucket.events for bucket in traffic.buckets]
    if starts:
        yield Card(
            traffic_title(traffic),
            f"Maximum {number(max(events))}{outside_note(traffic)}. "
            f"Times are in {report.time_zone.key}.",
            TimeChart(starts, traffic.bucket_seconds, [Series("events", events)], report.time_zone),
            table=Table(
                ("from", "events"),
                [
                    (format_time(start, report.time_zone), number(n))
                    for start, n in zip(starts, events, strict=True)
                ],
            ),
            size="full",
        )
    types = report.event_types
    if types:
        yield Card(
            "Event types",
            chart=BarChart(
                [each.event_type for each in types],
                [each.events for each in types],
                [f"{number(each.events)} · {percent(each.share)}" for each in types],
            ),
            table=_table(texts.get("Event types")),
            size="third",
        )
    if charts.hours:
        yield _hours(charts, report.time_zone)


def _hours(charts: ChartFigures, zone: ZoneInfo) -> Card:
    values = [[0] * len(HOURS) for _ in WEEKDAYS]
    for each in charts.hours:
        values[each.weekday - 1][each.hour] = each.events
    most = max(charts.hours, key=lambda each: each.events)
    return Card(
        "Events by weekday and hour",
        f"Most on {WEEKDAYS[most.weekday - 1]} from {most.hour}:00 to {most.hour + 1}:00 "
        f"{zone.key}: {number(most.events)}.",
        Heatmap(HOURS, WEEKDAYS, values, labels=False),
        table=Table(
            ("weekday", "hour", "events"),
            [
                (WEEKDAYS[each.weekday - 1], f"{each.hour:02}:00", number(each.events))
                for each in charts.hours
            ],
        ),
        size="two-thirds",
    )


# == Where visits come from =====================================================================


def _sources(report: Report, texts: Mapping[str, Section]) -> Iterable[Card]:
    figures = report.visit_sources
    if figures is None:
        return
    note = "By sessions; GA4's default channel groups."
    yield from _segments("Channels", figures.channels, texts, note)
    yield from _segments("Sources", figures.sources, texts)
    yield from _segments("Campaigns", figures.campaigns, texts)
    if figures.conversions:
        yield _card(texts["Conversions"])


# == Visitors and sessions ======================================================================


def _visits(report: Report, charts: ChartFigures, texts: Mapping[str, Section]) -> Iterable[Card]:
    if charts.engagement.sessions:
        yield _new_and_returning(report, charts)
        yield _engagement(report, charts)
        yield _durations(charts, texts)
    visitors = report.visitors
    if visitors:
        yield Card(
            "Top visitors",
            "By number of events.",
            BarChart(
                [each.user_id for each in visitors],
                [each.events for each in visitors],
                [number(each.events) for each in visitors],
            ),
            table=_table(texts.get("Top visitors")),
        )
    if LONGEST_SESSIONS in texts:
        yield _card(texts[LONGEST_SESSIONS])


def _new_and_returning(report: Report, charts: ChartFigures) -> Card:
    figures, buckets = charts.engagement, charts.sessions_over_time
    groups = report.visit_sources.new_and_returning if report.visit_sources else ()
    first = [each.first for each in buckets]
    later = [each.sessions - each.first for each in buckets]
    return Card(
        "New and returning visitors",
        "Sessions that are the first of a visitor, and later ones.",
        TimeChart(
            [each.start for each in buckets],
            report.traffic.bucket_seconds,
            [Series("later sessions", later), Series("first sessions", first)],
            report.time_zone,
        ),
        facts=(
            ("new visitors", number(figures.new_visitors)),
            ("returning visitors", number(figures.returning_visitors)),
            *((each.name, _session_figures(each)) for each in groups),
        ),
        table=Table(
            ("from", "first sessions", "later sessions"),
            [
                (
                    format_time(each.start, report.time_zone),
                    number(each.first),
                    number(each.sessions - each.first),
                )
                for each in buckets
            ],
        ),
    )


def _session_figures(figures: SourceFigures) -> str:
    return (
        f"{number(figures.sessions)}: {percent(figures.bounce_rate)} bounces, "
        f"{number(figures.orders)} orders, revenue {money(figures.revenue)}"
    )


def _engagement(report: Report, charts: ChartFigures) -> Card:
    figures, buckets = charts.engagement, charts.sessions_over_time
    rates = [each.engaged / each.sessions if each.sessions else None for each in buckets]
    rate = figures.engaged_sessions / figures.sessions
    return Card(
        "Engagement and bounces",
        "As in Google Analytics 4, a session is engaged if it is longer than 10 s, or has a "
        "purchase or at least two page views. All others are bounces.",
        TimeChart(
            [each.start for each in buckets],
            report.traffic.bucket_seconds,
            [Series("engagement rate", rates, line=True)],
            report.time_zone,
            format="percent",
        ),
        facts=(
            ("engaged", f"{percent(rate)} of the sessions: {number(figures.engaged_sessions)}"),
            ("bounces", f"{percent(1 - rate)} of the sessions"),
            (
                "per visitor",
                f"{figures.engaged_sessions / figures.visitors:.2f} engaged sessions",
            ),
        ),
        table=Table(
            ("from", "sessions", "engaged", "rate"),
            [
                (
                    format_time(each.start, report.time_zone),
                    number(each.sessions),
                    number(each.engaged),
                    percent(rate),
                )
                for each, rate in zip(buckets, rates, strict=True)
            ],
        ),
    )


def _durations(charts: ChartFigures, texts: Mapping[str, Section]) -> Card:
    bounds = [timedelta(seconds=each.from_seconds) for each in charts.durations]
    names = [format_duration(bound) for bound in bounds]
    ranges = [f"{low} to {high}" for low, high in pairwise(names)]
    ranges.append(f"{names[-1]} and longer")
    counts = [each.sessions for each in charts.durations]
    total = sum(counts)
    section = texts.get(SESSIONS)
    return Card(
        "Sessions by duration",
        "Each column begins at the duration below it and ends at the next one.",
        ColumnChart(names, counts, ranges),
        facts=section.facts if section else (),
        table=Table(
            ("duration", "sessions", "share"),
            [
                (name, number(count), percent(count / total if total else None))
                for name, count in zip(ranges, counts, strict=True)
            ],
        ),
    )


# == Pages ======================================================================================


def _pages(report: Report, charts: ChartFigures) -> Iterable[Card]:
    pages, links = report.pages, charts.transitions
    if pages:
        yield Card(
            "Top pages",
            "By page views.",
            BarChart(
                [each.page_path for each in pages],
                [each.views for each in pages],
                [number(each.views) for each in pages],
                [each.page_url for each in pages],
            ),
            table=Table(
                ("page", "views", "events", "landings", "exits"),
                [
                    (
                        each.page_path,
                        *map(number, (each.views, each.events, each.landings, each.exits)),
                    )
                    for each in pages
                ],
                [each.page_url for each in pages],
            ),
        )
    if links:
        yield Card(
            "From page to page",
            "The most frequent steps from one page view to the next in a session.",
            FlowChart([(each.from_path, each.to_path, each.views) for each in links]),
            table=Table(
                ("from", "to", "views"),
                [(each.from_path, each.to_path, number(each.views)) for each in links],
            ),
        )


# == Shop =======================================================================================


def _shop(report: Report, charts: ChartFigures, texts: Mapping[str, Section]) -> Iterable[Card]:
    if "Funnel" in texts:
        yield _funnel(report, texts["Funnel"])
    if "Revenue" in texts:
        yield _revenue(report, charts, texts["Revenue"])
        if report.products:
            yield _products(report, texts["Revenue"])
    if LATEST_ORDERS in texts:
        yield _card(texts[LATEST_ORDERS])


def _funnel(report: Report, section: Section) -> Card:
    steps = report.funnel
    return Card(
        section.title,
        "Sessions with an event of each type, and their share of all sessions.",
        BarChart(
            [row[0] for row in section.rows],
            [step.sessions for step in steps],
            [f"{number(step.sessions)} · {percent(step.share_of_all)}" for step in steps],
        ),
        section.facts,
        _table(section),
        size="third",
    )


def _revenue(report: Report, charts: ChartFigures, section: Section) -> Card:
    buckets = charts.revenue_over_time
    return Card(
        section.title,
        chart=TimeChart(
            [each.start for each in buckets],
            report.traffic.bucket_seconds,
            [Series("revenue", [each.revenue for each in buckets])],
            report.time_zone,
            format="money",
        ),
        facts=section.facts,
        table=Table(
            ("from", "revenue"),
            [(format_time(each.start, report.time_zone), money(each.revenue)) for each in buckets],
        ),
        size="third",
    )


def _products(report: Report, section: Section) -> Card:
    return Card(
        "Top products",
        "By revenue.",
        BarChart(
            [row[0] for row in section.rows],
            [each.revenue for each in report.products],
            [money(each.revenue) for each in report.products],
        ),
        table=_table(section),
        size="third",
    )


# == Audience ===================================================================================


def _audience(report: Report, charts: ChartFigures, texts: Mapping[str, Section]) -> Iterable[Card]:
    yield from _segments("Devices", report.devices, texts)
    yield from _categories("Articles by device", charts.articles)
    yield from _segments("Countries", report.countries, texts)
    yield from _categories("Products by device", charts.products)
    if report.user_agents:
        yield from _user_agents(report.user_agents, texts)


def _user_agents(figures: UserAgentFigures, texts: Mapping[str, Section]) -> Iterable[Card]:
    note = "By sessions, without bots, as their user agents say."
    yield from _segments("Browsers", figures.browsers, texts, note)
    yield from _segments("Operating systems", figures.operating_systems, texts, note)
    yield from _segments("Device types", figures.device_types, texts, note)
    yield from _segments("Top bots", figures.bots, texts)
    yield _card(texts["Bots"])


def _segments(
    title: str,
    segments: Sequence[SegmentFigures | SourceFigures],
    texts: Mapping[str, Section],
    note: str = "By sessions.",
) -> Iterable[Card]:
    if segments:
        yield Card(
            title,
            note,
            BarChart(
                [each.name or NOT_KNOWN for each in segments],
                [each.sessions for each in segments],
                [f"{number(each.sessions)} · {percent(each.share)}" for each in segments],
            ),
            table=_table(texts.get(title)),
        )


def _categories(title: str, cells: Sequence[CategoryFigures]) -> Iterable[Card]:
    """Yield a heatmap of categories (rows) and devices (columns), in the order of the cells."""
    if not cells:
        return
    categories = [category for category, _ in groupby(cells, lambda each: each.category)]
    devices = list(dict.fromkeys(each.device_type or NOT_KNOWN for each in cells))
    events: Counter[tuple[str, str]] = Counter()
    for each in cells:
        events[each.category, each.device_type or NOT_KNOWN] += each.events
    yield Card(
        title,
        "Events with a category.",
        Heatmap(
            devices,
            categories,
            [[events[category, device] for device in devices] for category in categories],
        ),
        table=Table(
            ("category", "device", "events"),
            [(each.category, each.device_type or NOT_KNOWN, number(each.events)) for each in cells],
        ),
    )


# == Data =======================================================================================


def _data(report: Report, charts: ChartFigures, texts: Mapping[str, Section]) -> Iterable[Card]:
    if charts.ingest.buckets:
        yield _throughput(charts.ingest, report.time_zone)
        yield _delay(charts.ingest, report.time_zone)
    if report.quality.records:
        yield _quality(report, texts[QUALITY])


def _throughput(ingest: IngestOverTime, zone: ZoneInfo) -> Card:
    rates = [each.events / ingest.bucket_seconds for each in ingest.buckets]
    starts = [each.start for each in ingest.buckets]
    return Card(
        "Throughput",
        f"Stored events per second, up to {format_time(starts[-1], zone)}.",
        TimeChart(starts, ingest.bucket_seconds, [Series("stored", rates)], zone, format="rate"),
        table=Table(
            ("from", "events", "per second"),
            [
                (format_time(each.start, zone), number(each.events), number(rate))
                for each, rate in zip(ingest.buckets, rates, strict=True)
            ],
        ),
    )


def _delay(ingest: IngestOverTime, zone: ZoneInfo) -> Card:
    buckets = ingest.buckets
    medians = [each.delay_median for each in buckets]
    slowest = [each.delay_p95 for each in buckets]
    starts = [each.start for each in buckets]
    return Card(
        "Ingest delay",
        "From the time of an event, by the visitor's clock, to the time it was stored.",
        TimeChart(
            starts,
            ingest.bucket_seconds,
            [
                Series("median", medians, line=True),
                Series("95th percentile", slowest, line=True),
            ],
            zone,
            format="seconds",
        ),
        table=Table(
            ("from", "median", "95th percentile"),
            [
                (format_time(start, zone), minutes(median / 60), minutes(slow / 60))
                for start, median, slow in zip(starts, medians, slowest, strict=True)
            ],
        ),
    )


def _quality(report: Report, section: Section) -> Card:
    quality = report.quality
    counts = {
        "duplicates": quality.duplicates,
        "late": quality.late,
        "rejected": quality.rejected,
        "removed": quality.removed,
        "repaired values": sum(each.events for each in quality.repaired_by_field),
    }
    if not any(counts.values()):
        return Card(section.title, facts=section.facts, size="full")
    numbers = [number(count) for count in counts.values()]
    return Card(
        section.title,
        chart=BarChart(list(counts), list(counts.values()), numbers),
        facts=section.facts,
        table=Table(("what", "number"), list(zip(counts, numbers, strict=True))),
        size="full",
    )
