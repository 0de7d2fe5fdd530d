"""Parts of a screen that fit any width: tables, key figures, the chart of events, columns.

They are renderables of rich, which gives them the width when they are printed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clickstream.durations import format_time
from clickstream.report.models import TrafficBucket, TrafficOverTime
from clickstream.report.sections import Facts, Section, outside_note, traffic_title
from clickstream.report.standard_output import LEVELS
from clickstream.untrusted_text import clean

BAR_WIDTH = 12
# A name is cut to this width before the values of its row move to a line below it.
MIN_NAME_WIDTH = 24
SPACE = 2
# Sections stand side by side if each gets at least this many columns, and none gets more than the
# maximum: longer lines are hard to read.
MIN_COLUMN_WIDTH, MAX_COLUMN_WIDTH = 80, 100
COLUMN_SPACE = 4


def title(text: str) -> Text:
    """Return the heading of a part."""
    return Text(text, style="bold cyan")


def indented(part: RenderableType) -> RenderableType:
    """Return a part that begins two columns further right."""
    return Padding(part, (0, 0, 0, SPACE), expand=False)


def facts_table(facts: Facts) -> Table:
    """Return facts one below another; a name that is equal to the one above it is shown once."""
    table = Table.grid(padding=(0, SPACE, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    last = ""
    for name, sentence in facts:
        table.add_row("" if name == last else name, Text(clean(sentence)))
        last = name
    return table


def section_part(section: Section, *, bars: bool) -> RenderableType:
    """Return a section. bars: draw a bar for each row."""
    parts: list[RenderableType] = [title(section.title)]
    if section.facts:
        parts.append(indented(facts_table(section.facts)))
    if section.facts and section.rows:
        parts.append(Text())
    if section.rows:
        parts.append(indented(FittingTable(section, bars)))
    return Group(*parts)


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, SPACE, 0, 0), header_style="dim")


def cut_text(text: str) -> Text:
    """Return text for one line; it ends with an ellipsis if there is no room for all of it."""
    return Text(clean(text), no_wrap=True, overflow="ellipsis")


@dataclass(frozen=True, slots=True)
class FittingTable:
    """The table of a section.

    If it is too wide, it loses its bars, then headings take several lines, then names are cut. If
    it is still too wide, each row is a name with its values on the lines below. Values are never
    cut, and names of a section with whole_names are not either.
    """

    section: Section
    bars: bool

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table for the width of the options."""
        for bars, wrapped in ((self.bars, False), (False, False), (False, True)):
            widths = self._widths(options.max_width, bars=bars, wrapped=wrapped)
            if widths:
                yield self._table(widths, bars=bars)
                return
        for name, *values in self.section.rows:
            yield cut_text(name) if not self.section.whole_names else Text(clean(name))
            items = [
                f"{column} {value}" for column, value in zip(self._columns, values, strict=True)
            ]
            yield indented(Text("\n".join(joined_lines(items, options.max_width - SPACE))))

    @property
    def _columns(self) -> Sequence[str]:
        """The headings of the values."""
        return self.section.columns[1:]

    def _widths(self, room: int, *, bars: bool, wrapped: bool) -> list[int]:
        """Return the width of each column but the bars; nothing if the table is too wide."""
        headings = (
            max(map(cell_len, name.split())) if wrapped else cell_len(name)
            for name in self.section.columns
        )
        names, *values = (
            max(heading, *(cell_len(clean(cell)) for cell in cells))
            for heading, cells in zip(headings, zip(*self.section.rows, strict=True), strict=True)
        )
        room -= sum(width + SPACE for width in values)
        if bars and self.section.bars:
            room -= BAR_WIDTH + SPACE
        needed = names if self.section.whole_names else min(names, MIN_NAME_WIDTH)
        return [min(names, room), *values] if needed <= room else []

    def _table(self, widths: Sequence[int], *, bars: bool) -> Table:
        table = plain_table()
        table.add_column(self.section.columns[0], width=widths[0])
        for name, width in zip(self._columns, widths[1:], strict=True):
            table.add_column(name, justify="right", width=width)
        drawn = self.section.bars if bars else ()
        if drawn:
            table.add_column(width=BAR_WIDTH)
        for index, (name, *values) in enumerate(self.section.rows):
            bar = [_bar(drawn[index])] if drawn else []
            table.add_row(cut_text(name), *(cut_text(value) for value in values), *bar)
        return table


def joined_lines(items: Sequence[str], width: int) -> Iterator[str]:
    """Yield lines with as many of the items as fit, with commas between them."""
    line = ""
    for item in items:
        longer = f"{line}, {item}" if line else item
        if line and cell_len(longer) + 1 > width:
            yield f"{line},"
            longer = item
        line = longer
    yield line


def _bar(length: float) -> Text:
    halves = max(1, round(2 * BAR_WIDTH * length))
    return Text("━" * (halves // 2) + "╸" * (halves % 2), style="green")


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """Totals side by side, each with its name below it; if they are too wide, name and total."""

    figures: Facts

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the figures for the width of the options."""
        widths = [max(map(cell_len, figure)) for figure in self.figures]
        if sum(widths) + 2 * SPACE * (len(widths) - 1) > options.max_width:
            items = [f"{name} {value}" for name, value in self.figures]
            yield Text("\n".join(joined_lines(items, options.max_width)))
            return
        grid = Table.grid(padding=(0, 2 * SPACE, 0, 0))
        for width in widths:
            grid.add_column(justify="right", width=width)
        grid.add_row(*(Text(value, style="bold") for _, value in self.figures))
        grid.add_row(*(Text(name, style="dim") for name, _ in self.figures))
        yield grid


@dataclass(frozen=True, slots=True)
class Sparkline:
    """Events over time, one character for each bucket, or for several if there are too many."""

    traffic: TrafficOverTime
    zone: ZoneInfo

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield title, line and caption for the width of the options."""
        traffic = shorter(self.traffic, options.max_width - SPACE)
        highest = max(bucket.events for bucket in traffic.buckets)
        start = format_time(traffic.buckets[0].start, self.zone)
        caption = f"from {start}, maximum {highest:,}{outside_note(traffic)}"
        yield title(traffic_title(traffic))
        yield indented(Text(levels([each.events for each in traffic.buckets]), style="green"))
        yield indented(Text(caption, style="dim"))


def levels(counts: Sequence[int]) -> str:
    """Return a character for each number: a higher block for a larger one, a space for zero."""
    highest = max(counts, default=0)
    return "".join(
        LEVELS[(count * len(LEVELS) - 1) // highest] if count else " " for count in counts
    )


def shorter(traffic: TrafficOverTime, most: int) -> TrafficOverTime:
    """Return the same events in at most this many buckets, each as long as several before."""
    several = -(-len(traffic.buckets) // most)
    groups = [
        traffic.buckets[index : index + several]
        for index in range(0, len(traffic.buckets), several)
    ]
    buckets = [
        TrafficBucket(group[0].start, sum(each.events for each in group)) for group in groups
    ]
    return TrafficOverTime(several * traffic.bucket_seconds, buckets, traffic.events_outside)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Parts in as many columns as the width has room for, read from top to bottom."""

    parts: Sequence[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the columns for the width of the options."""
        number = max(1, (options.max_width + COLUMN_SPACE) // (MIN_COLUMN_WIDTH + COLUMN_SPACE))
        space = COLUMN_SPACE * (number - 1)
        width = min(MAX_COLUMN_WIDTH, (options.max_width - space) // number)
        narrow = options.update(width=width)
        heights = [len(console.render_lines(part, narrow, pad=False)) for part in self.parts]
        grid = Table.grid(padding=(0, COLUMN_SPACE, 0, 0))
        groups = list(_split(self.parts, heights, number))
        for _ in groups:
            grid.add_column(width=width)
        grid.add_row(*(Group(*group) for group in groups))
        yield grid


def _split(
    parts: Sequence[RenderableType], heights: Sequence[int], number: int
) -> Iterator[Sequence[RenderableType]]:
    """Yield consecutive parts in at most this many groups, the highest of them as low as it can."""
    limit = next(
        limit
        for limit in range(max(heights, default=0), sum(heights) + 1)
        if len(list(_group_ends(heights, limit))) <= number
    )
    start = 0
    for end in _group_ends(heights, limit):
        yield parts[start:end]
        start = end


def _group_ends(heights: Sequence[int], limit: int) -> Iterator[int]:
    """Yield the end of each group, if consecutive parts are grouped up to this height."""
    total = 0
    for index, height in enumerate(heights):
        if total and total + height > limit:
            yield index
            total = 0
        total += height
    yield len(heights)
