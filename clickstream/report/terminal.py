"""The report and one session in a terminal, from 80 columns up, or as plain text in a pipe."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import zip_longest

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clickstream.durations import format_duration, format_time
from clickstream.report.models import Report, TrafficOverTime
from clickstream.report.number_format import minutes, money, number
from clickstream.report.sections import (
    Facts,
    Section,
    key_figures,
    outside_note,
    period,
    sections,
    traffic_title,
)
from clickstream.report.session_detail import SessionDetail, SessionEvent
from clickstream.untrusted_text import clean, clip

MOST_COLUMNS = 100
BAR_WIDTH = 12
FACT_CHARACTERS = 300
LEVELS = "▁▂▃▄▅▆▇█"


def open_console() -> Console:
    """Open standard output, with at most MOST_COLUMNS columns."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, MOST_COLUMNS)
    return console


def show(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print the parts one below another; without trailing spaces if the output is a pipe."""
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=console.file)


def report_parts(report: Report, *, bars: bool) -> Iterable[RenderableType]:
    """Yield the parts of the report, each with an empty line after it.

    bars: draw the chart of events over time, and a bar for each row of a table.
    """
    yield _head(report)
    if bars and report.traffic.buckets:
        yield _sparkline(report.traffic)
    for section in sections(report):
        yield render(section, bars=bars)


def render(section: Section, *, bars: bool) -> RenderableType:
    """Return a section with an empty line after it. bars: draw a bar for each row."""
    parts: list[RenderableType] = [_title(section.title)]
    if section.facts:
        parts.append(_indented(_facts(section.facts)))
    if section.facts and section.rows:
        parts.append(Text())
    if section.rows:
        parts.append(_indented(_table(section, bars=bars)))
    return Group(*parts, Text())


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, 2), expand=False)


def _title(text: str) -> Text:
    return Text(text, style="bold cyan")


def _head(report: Report) -> RenderableType:
    names = Table.grid(padding=(0, 4, 0, 0))
    figures = key_figures(report)
    for _ in figures:
        names.add_column(justify="right")
    names.add_row(*(Text(value, style="bold") for _, value in figures))
    names.add_row(*(Text(name, style="dim") for name, _ in figures))
    title = Text.assemble(
        ("Clickstream", "bold cyan"),
        f"  database {clean(report.database)}, {format_time(report.generated_at)}",
    )
    return Group(title, Text(period(report), style="dim"), Text(), _indented(names), Text())


def _sparkline(traffic: TrafficOverTime) -> RenderableType:
    """Draw events over time, one character per bucket."""
    counts = [bucket.events for bucket in traffic.buckets]
    highest = max(counts)
    line = "".join(
        LEVELS[(count * len(LEVELS) - 1) // highest] if count else " " for count in counts
    )
    start = format_time(traffic.buckets[0].start)
    caption = f"from {start}, maximum {highest:,}{outside_note(traffic)}"
    return Group(
        _title(traffic_title(traffic)),
        _indented(Text(line, style="green")),
        _indented(Text(caption, style="dim")),
        Text(),
    )


def _facts(facts: Facts) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    last = ""
    for name, sentence in facts:
        table.add_row("" if name == last else name, Text(clean(sentence)))
        last = name
    return table


def _table(section: Section, *, bars: bool) -> Table:
    table = _plain_table(section.columns[0])
    for name in section.columns[1:]:
        table.add_column(name, no_wrap=True, justify="right")
    drawn = section.bars if bars else ()
    if drawn:
        table.add_column(no_wrap=True, min_width=BAR_WIDTH)
    for (name, *numbers), length in zip_longest(section.rows, drawn):
        table.add_row(_cell(name), *numbers, *([_bar(length)] if drawn else []))
    return table


def _plain_table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _cell(text: str) -> Text:
    """Return text that is cut if the table is too wide; numbers are never cut."""
    return Text(clean(text), no_wrap=True, overflow="ellipsis")


def _bar(length: float) -> Text:
    halves = max(1, round(2 * BAR_WIDTH * length))
    return Text("━" * (halves // 2) + "╸" * (halves % 2), style="green")


def session_parts(detail: SessionDetail) -> Iterable[RenderableType]:
    """Yield the parts of one session: why it began and ended, its metrics, its events."""
    yield _title(f"Session {detail.metrics['session_id']}")
    yield _indented(_facts(_session_facts(detail)))
    yield Text()
    yield _title("Events")
    yield _indented(_events(detail.events))
    hidden = detail.metrics["total_events"] - len(detail.events)
    if hidden > 0:
        yield Text(f"  ... and {hidden:,} more", style="dim")


def _session_facts(detail: SessionDetail) -> Facts:
    metrics = detail.metrics
    status = [
        ("visitor", metrics["user_id"]),
        ("began", f"{format_time(metrics['first_event_timestamp'])}: {detail.began}"),
        ("last event", format_time(metrics["last_event_timestamp"])),
        ("ended", detail.ended),
        ("duration", minutes(metrics["session_duration_minutes"])),
        ("events", f"{number(metrics['total_events'])}: {_counts(metrics['event_type_counts'])}"),
        ("bounce", "yes" if metrics["is_bounce"] else "no"),
        ("revenue", f"{money(metrics['total_revenue'])} in {metrics['orders_count']} orders"),
        ("pages", f"{metrics['unique_pages_count']} different"),
        ("landing page", metrics["landing_page"]),
        ("exit page", metrics["exit_page"]),
        ("products", f"{metrics['products_viewed_count']} viewed"),
        ("searches", ", ".join(metrics["search_queries"])),
        ("referrers", ", ".join(metrics["referrers"])),
        ("device", metrics["device_type"]),
        ("country", metrics["country"]),
        ("address", metrics["ip_address"]),
        ("user agent", metrics["user_agent"]),
    ]
    return [(name, clip(value, FACT_CHARACTERS)) for name, value in status if value]


def _counts(types: dict[str, int]) -> str:
    ordered = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered)


def _events(events: Sequence[SessionEvent]) -> Table:
    table = _plain_table()
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("after", no_wrap=True, justify="right")
    table.add_column("type", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("details")
    before = None
    for event in events:
        passed = "" if before is None else _passed(event.event_time - before)
        time = f"{event.event_time:%Y-%m-%d %H:%M:%S.%f}"[:-3]
        table.add_row(time, passed, _cell(event.event_type), _cell(_details(event)))
        before = event.event_time
    return table


def _passed(length: timedelta) -> str:
    return format_duration(timedelta(milliseconds=round(length / timedelta(milliseconds=1))))


def _details(event: SessionEvent) -> str:
    """Describe an event in one line: page, referrer, search query, product, order."""
    parts = (
        event.page_url,
        f"from {event.referrer}" if event.referrer else None,
        f'"{event.search_query}"' if event.search_query else None,
        event.product_id,
        f"{event.quantity or 1} x {event.price}" if event.price is not None else None,
        f"order {event.order_id}" if event.order_id else None,
        "failed" if event.success is False else None,
    )
    return ", ".join(part for part in parts if part)
