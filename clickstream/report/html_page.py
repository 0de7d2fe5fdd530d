"""The report as one HTML file, without links to other files; light and dark."""

from html import escape

from clickstream.durations import format_time
from clickstream.report.models import Report, TrafficOverTime
from clickstream.report.sections import (
    Facts,
    Section,
    key_figures,
    outside_note,
    period,
    sections,
    traffic_title,
)
from clickstream.untrusted_text import clean

CHART_WIDTH, CHART_HEIGHT = 960, 140

STYLE_SHEET = """
:root { color-scheme: light dark; --paper: #fff; --ground: #f4f6f8; --ink: #1c2733;
  --quiet: #5c6b7a; --line: #dde3ea; --bar: #1f7a8c; }
@media (prefers-color-scheme: dark) { :root { --paper: #18212b; --ground: #10161d;
  --ink: #e6ecf2; --quiet: #93a3b3; --line: #2b3846; --bar: #4fb3c6; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: auto; display: grid; gap: 1rem;
  align-items: start; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
header, .wide { grid-column: 1 / -1; }
h1 { margin: 0; font-size: 1.6rem; }
h2 { margin: 0 0 .75rem; font-size: 1rem; }
p { margin: .25rem 0 0; color: var(--quiet); }
section { padding: 1.1rem 1.25rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; overflow-x: auto; }
dl.figures { display: flex; flex-wrap: wrap; gap: 1rem 3rem; margin: 1.25rem 0 .25rem; }
dl.figures div { display: flex; flex-direction: column-reverse; }
dl.figures dd { margin: 0; font-size: 1.7rem; font-weight: 600; line-height: 1.2; }
dl.figures dt, dl.facts dt, th { color: var(--quiet); font-weight: 400; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
dl.facts + table { margin-top: 1rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; text-align: right; white-space: nowrap;
  border-top: 1px solid var(--line); }
thead th { border-top: 0; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
td:first-child { max-width: 22rem; overflow: hidden; text-overflow: ellipsis; }
svg { display: block; fill: var(--bar); }
svg.chart { width: 100%; height: auto; }
"""
HTML_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Clickstream report, {time}</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
<h1>Clickstream report</h1>
<p>Database {database}, {time}. {period}</p>
{figures}
</header>
{sections}
</main>
</body>
</html>
"""


def html_page(report: Report) -> str:
    """Return the report as an HTML document."""
    parts = [_chart(report.traffic)] if report.traffic.buckets else []
    parts += [_section(section) for section in sections(report)]
    return HTML_PAGE.format(
        time=format_time(report.generated_at),
        style=STYLE_SHEET,
        database=_text(report.database),
        period=_text(period(report)),
        figures=_figures(key_figures(report)),
        sections="\n".join(parts),
    )


def _text(value: str) -> str:
    return escape(clean(value))


def _figures(facts: Facts) -> str:
    items = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts)
    return f'<dl class="figures">{"".join(items)}</dl>'


def _facts(facts: Facts) -> str:
    above = ["", *(name for name, _ in facts)]
    items = (
        f"<dt>{'' if name == last else _text(name)}</dt><dd>{_text(value)}</dd>"
        for last, (name, value) in zip(above, facts, strict=False)
    )
    return f'<dl class="facts">{"".join(items)}</dl>'


def _section(section: Section) -> str:
    facts = _facts(section.facts) if section.facts else ""
    table = _table(section) if section.rows else ""
    wide = ' class="wide"' if len(section.columns) > 4 and not section.bars else ""
    return f"<section{wide}><h2>{_text(section.title)}</h2>{facts}{table}</section>"


def _table(section: Section) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in section.columns)
    body = []
    for index, row in enumerate(section.rows):
        cells = "".join(f'<td title="{_text(cell)}">{_text(cell)}</td>' for cell in row)
        bar = f"<td>{_bar(section.bars[index])}</td>" if section.bars else ""
        body.append(f"<tr>{cells}{bar}</tr>")
    empty = "<th></th>" if section.bars else ""
    return f"<table><thead><tr>{head}{empty}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _bar(length: float) -> str:
    width = max(1, round(100 * length))
    return (
        '<svg width="100" height="10" role="img" aria-hidden="true">'
        f'<rect width="{width}" height="10" rx="3"/></svg>'
    )


def _chart(traffic: TrafficOverTime) -> str:
    """Draw events over time as bars, each with a tooltip."""
    buckets = traffic.buckets
    width = CHART_WIDTH / max(len(buckets), 12)
    highest = max(bucket.events for bucket in buckets)
    bars = []
    for index, bucket in enumerate(buckets):
        height = CHART_HEIGHT * bucket.events / highest
        bars.append(
            f'<rect x="{width * index:.2f}" y="{CHART_HEIGHT - height:.2f}" '
            f'width="{width * 0.86:.2f}" height="{height:.2f}" rx="2">'
            f"<title>{format_time(bucket.start)}: {bucket.events:,} events</title></rect>"
        )
    return (
        f'<section class="wide"><h2>{traffic_title(traffic)}</h2>'
        f'<svg class="chart" viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" role="img" '
        f'aria-label="Events over time">{"".join(bars)}</svg>'
        f"<p>{format_time(buckets[0].start)} to {format_time(buckets[-1].start)}, "
        f"maximum {highest:,}{outside_note(traffic)}</p></section>"
    )
