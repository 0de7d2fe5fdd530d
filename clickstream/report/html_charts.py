"""Values of the page's charts, as html_page.js reads them.

Each chart has a `kind`, which names the function that draws it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from clickstream.durations import wall_clock
from clickstream.untrusted_text import clean

Number = int | float | Decimal


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each start of a time chart; drawn as bars or as a line."""

    name: str
    values: Sequence[Number | None]
    line: bool = False


@dataclass(frozen=True, slots=True)
class TimeChart:
    """Series over time; several series of bars are stacked.

    seconds: the length of a bucket. zone: in which times are shown. format: count, money, percent,
    rate (events per second) or seconds.
    """

    kind: ClassVar[str] = "time"
    starts: Sequence[datetime]
    seconds: int
    series: Sequence[Series]
    zone: ZoneInfo
    format: str = "count"


@dataclass(frozen=True, slots=True)
class BarChart:
    """Named values as horizontal bars, the first one on top.

    texts: at the end of each bar. titles: the names in tooltips, if they differ from those on the
    page.
    """

    kind: ClassVar[str] = "bars"
    names: Sequence[str]
    values: Sequence[Number]
    texts: Sequence[str]
    titles: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """Named counts as columns, such as a histogram. titles: the names in tooltips."""

    kind: ClassVar[str] = "columns"
    names: Sequence[str]
    values: Sequence[int]
    titles: Sequence[str]


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A matrix of numbers as colours. values: a list for each row. labels: show the numbers."""

    kind: ClassVar[str] = "heatmap"
    columns: Sequence[str]
    rows: Sequence[str]
    values: Sequence[Sequence[int]]
    labels: bool = True


@dataclass(frozen=True, slots=True)
class FlowChart:
    """Numbers of steps from one name to another, as bands. links: (from, to, number)."""

    kind: ClassVar[str] = "flows"
    links: Sequence[tuple[str, str, int]]


Chart = TimeChart | BarChart | ColumnChart | Heatmap | FlowChart


def as_script_json(chart: Chart) -> str:
    """Return a chart as JSON that can stand in a script element.

    It has no "<", which could end the element. Texts are clean, times are milliseconds since 1970
    by the wall clock of the chart's zone.
    """
    values = {"kind": chart.kind, **asdict(chart)}
    if isinstance(chart, TimeChart):
        values |= {
            "starts": [wall_clock(start, chart.zone) for start in chart.starts],
            "zone": chart.zone.key,
        }
    values = _plain(values)
    return json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    """Return a value with nothing in it that JSON lacks, and with clean texts."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, datetime):
        return round(value.timestamp() * 1_000)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return list(map(_plain, value)) if isinstance(value, Sequence) else value
