"""The screen of the live view: figures, a chart of the last hour, event types, latest sessions.

It fills a terminal of any size. If a part is higher than its place, its last line says how many
lines are missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Text

from clickstream.durations import format_duration, format_time, in_zone
from clickstream.indexer.backlog import MAX_COUNTED_ROWS, Backlog
from clickstream.plurals import plural
from clickstream.report.fitting import (
    COLUMN_SPACE,
    MIN_COLUMN_WIDTH,
    KeyFigures,
    cut_text,
    indented,
    section_part,
    title,
)
from clickstream.report.last_hour import MINUTE, HourFigures
from clickstream.report.live_figures import LiveFigures
from clickstream.report.number_format import NO_VALUE, money, number, percent
from clickstream.report.sections import SHOWN_VISITOR_CHARACTERS, Facts, Section, bar_lengths
from clickstream.report.standard_output import LEVELS
from clickstream.untrusted_text import clip

CHART_HEIGHT, MAX_CHART_HEIGHT = 6, 16
# With fewer lines below the figures, the parts below them are not placed separately.
MIN_BODY_HEIGHT = 10
MIN_TYPES_WIDTH = 52
NO_BARS = " " * 4 + "#" * 5


@dataclass(frozen=True, slots=True)
class View:
    """Content of the screen.

    zone: time zone of the times. figures: None before the first reading. problem: why newer figures
    cannot be read, or None. draws_bars: False if the encoding lacks the characters.
    """

    database: str
    zone: ZoneInfo
    figures: LiveFigures | None
    problem: str | None
    draws_bars: bool


def screen(console: Console, view: View) -> RenderableType:
    """Return the content, laid out for the current size of the console."""
    width, height = console.size
    head = _head(view)
    head_height = len(console.render_lines(head, console.options.update(height=None)))
    layout = Layout()
    if view.figures is None or head_height >= height:
        layout.update(Clipped(head))
        return layout
    top = Layout(head, size=head_height)
    layout.split_column(top, *_body(view, view.figures, width, height - head_height))
    return layout


def _head(view: View) -> RenderableType:
    name = Text.assemble(("Clickstream", "bold cyan"), f"  database {clip(view.database, 63)}")
    if view.figures is not None:
        name.append(f", {format_time(view.figures.time, view.zone)}")
    name.append("; Ctrl-C ends", style="dim")
    parts: list[RenderableType] = [name]
    if view.problem is not None:
        parts.append(Text(view.problem, style="bold red"))
    elif view.figures is None:
        parts.append(Text("reading the last hour"))
    if view.figures is not None:
        parts += [Text(), indented(KeyFigures(_key_figures(view.figures))), Text()]
    return Group(*parts)


def _key_figures(figures: LiveFigures) -> Facts:
    lag = figures.counters.lag_seconds
    return (
        ("events/s", number(figures.events_per_second)),
        ("lag", NO_VALUE if lag is None else format_duration(timedelta(seconds=round(lag)))),
        ("open sessions", number(figures.counters.open_sessions)),
        ("rejected", number(figures.counters.rejected)),
        ("search backlog", _search(figures.search)),
    )


def _search(waiting: Backlog) -> str:
    if not waiting.begun:
        return NO_VALUE
    more = "+" if waiting.rows >= MAX_COUNTED_ROWS else ""
    return f"{number(waiting.rows)}{more}"


def _body(view: View, figures: LiveFigures, width: int, height: int) -> list[Layout]:
    """Return the parts below the key figures, which are this many lines high together."""
    chart = HourChart(figures.hour, view.zone, view.draws_bars)
    types = section_part(_event_types(figures.hour), bars=view.draws_bars)
    sessions = section_part(_latest_sessions(figures), bars=False)
    if height < MIN_BODY_HEIGHT:
        return [Layout(Clipped(Group(chart, types, sessions)))]
    chart_height = min(height // 3, MAX_CHART_HEIGHT)
    top = Layout(Padding(chart, (0, 0, 1, 0)), size=chart_height)
    if width >= MIN_TYPES_WIDTH + MIN_COLUMN_WIDTH:
        tables = Layout()
        left = Padding(Clipped(types), (0, COLUMN_SPACE, 0, 0))
        tables.split_row(Layout(left, size=MIN_TYPES_WIDTH), Layout(Clipped(sessions)))
        return [top, tables]
    # Title, headings, rows and the empty line below them.
    types_height = min(len(figures.hour.event_types) + 3, (height - chart_height) // 2)
    middle = Padding(Clipped(types), (0, 0, 1, 0))
    return [top, Layout(middle, size=types_height), Layout(Clipped(sessions))]


def _event_types(hour: HourFigures) -> Section:
    counts = [events for _, events in hour.event_types]
    return Section(
        "Event types",
        facts=() if counts else (("none", "in the last hour"),),
        columns=("type", "events", "share"),
        rows=[
            (name, number(events), percent(events / sum(hour.events_per_minute)))
            for name, events in hour.event_types
        ],
        bars=bar_lengths(counts),
    )


def _latest_sessions(figures: LiveFigures) -> Section:
    sessions = figures.latest_sessions
    return Section(
        "Latest sessions",
        facts=() if sessions else (("none", "yet"),),
        columns=("session", "visitor", "events", "last event"),
        rows=[
            (
                each.session_id,
                clip(each.user_id, SHOWN_VISITOR_CHARACTERS),
                number(each.total_events),
                _ago(figures.time - each.last_event_timestamp),
            )
            for each in sessions
        ],
        whole_names=True,
    )


def _ago(passed: timedelta) -> str:
    seconds = timedelta(seconds=round(passed.total_seconds()))
    return f"{format_duration(seconds)} {'ahead' if seconds < timedelta() else 'ago'}"


@dataclass(frozen=True, slots=True)
class HourChart:
    """Events per minute of the last hour as vertical bars, as wide and high as their place."""

    hour: HourFigures
    zone: ZoneInfo
    draws_bars: bool

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield title, bars and axis for the size of the options."""
        counts = self.hour.events_per_minute
        yield title("Events per minute, the last hour")
        events = sum(counts)
        total = f"{number(events)} {plural(events, 'event')}, {money(self.hour.revenue)} revenue"
        yield cut_text(f"  {total}")
        label = number(max(counts))
        width = options.max_width - len(label) - 1
        rows = (options.height or CHART_HEIGHT) - 3
        for index, line in enumerate(_bars(counts, width, rows, self.draws_bars)):
            name = label if index == 0 else "0" if index == rows - 1 else ""
            yield Text.assemble(f"{name:>{len(label)}} ", (line, "green"), no_wrap=True)
        yield Text(" " * (len(label) + 1) + self._axis(width), style="dim", no_wrap=True)

    def _axis(self, width: int) -> str:
        start, end = (
            f"{in_zone(time, self.zone):%H:%M}"
            for time in (self.hour.start, self.hour.start + 59 * MINUTE)
        )
        return f"{start}{end:>{max(0, width - len(start))}}"


def _bars(counts: Sequence[int], width: int, rows: int, draws_bars: bool) -> list[str]:
    """Return the lines of vertical bars of this width and height altogether, the top line first."""
    several = -(-len(counts) // max(1, width))
    groups = [sum(counts[at : at + several]) for at in range(0, len(counts), several)]
    highest = max(groups) or 1
    eighths = [-(-8 * rows * group // highest) for group in groups]
    characters = f" {LEVELS}" if draws_bars else NO_BARS
    return [
        "".join(
            characters[min(8, max(0, eighths[x * len(groups) // width] - 8 * (rows - 1 - row)))]
            for x in range(width)
        )
        for row in range(rows)
    ]


@dataclass(frozen=True, slots=True)
class Clipped:
    """A part, cut to the height of its place; the last line then says what is missing."""

    part: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines that the height of the options has room for."""
        lines = console.render_lines(self.part, options.update(height=None), pad=False)
        height = options.height or len(lines)
        shown = lines if len(lines) <= height else lines[: height - 1]
        for line in shown:
            yield from line
            yield Segment.line()
        if len(shown) < len(lines):
            yield cut_text(f"… {number(len(lines) - len(shown))} more lines")
