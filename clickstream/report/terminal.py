"""The report in a terminal of any width, or as plain text in a pipe."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.text import Text

from clickstream.durations import format_time
from clickstream.pasteable import pasteable
from clickstream.report.fitting import (
    MAX_COLUMN_WIDTH,
    KeyFigures,
    SideBySide,
    Sparkline,
    indented,
    section_part,
)
from clickstream.report.models import Report
from clickstream.report.sections import Section, key_figures, period, sections
from clickstream.report.standard_output import can_draw
from clickstream.untrusted_text import clean


def open_console() -> Console:
    """Open standard output: as wide as the terminal, or with at most MAX_COLUMN_WIDTH columns."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = min(console.width, MAX_COLUMN_WIDTH)
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


def report_parts(report: Report, *, bars: bool) -> Iterator[RenderableType]:
    """Yield the parts of the report, each with an empty line after it.

    bars: draw the chart of events over time, and a bar for each row of a table.
    """
    yield _head(report)
    if bars and report.traffic.buckets:
        yield Group(Sparkline(report.traffic, report.time_zone), Text())
    yield SideBySide([render(section, bars=bars) for section in sections(_pasteable(report))])


def draws_bars(console: Console) -> bool:
    """Return True if the output is a terminal whose encoding has the characters of bars."""
    return console.is_terminal and can_draw(console.encoding)


def render(section: Section, *, bars: bool) -> RenderableType:
    """Return a section with an empty line after it. bars: draw a bar for each row."""
    return Group(section_part(section, bars=bars), Text())


def _head(report: Report) -> RenderableType:
    now = format_time(report.generated_at, report.time_zone)
    name = Text.assemble(
        ("Clickstream", "bold cyan"), f"  database {clean(report.database)}, {now}"
    )
    figures = indented(KeyFigures(key_figures(report)))
    return Group(name, Text(period(report), style="dim"), Text(), figures, Text())


def _pasteable(report: Report) -> Report:
    """Return the report with commands that run in this terminal; pages and JSON have plain ones."""
    rejected = [
        replace(each, list_command=pasteable(each.list_command))
        for each in report.quality.rejected_by_reason
    ]
    agents = report.user_agents
    return replace(
        report,
        quality=replace(report.quality, rejected_by_reason=rejected),
        user_agents=agents and replace(agents, refresh_command=pasteable(agents.refresh_command)),
    )
