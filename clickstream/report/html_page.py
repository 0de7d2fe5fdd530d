"""The report as one HTML file that needs no network; light and dark, for wide and narrow screens.

The charts are drawn in the browser by Apache ECharts, whose script (1.1 MB) is part of the file. It
draws SVG for the width of the screen, with tooltips; it has all kinds of charts that we need; it is
maintained by the Apache Software Foundation under the Apache License 2.0; and it needs no package.
The tables below the charts need no script.

No text of a visitor can become markup: in HTML it is escaped, and for the charts it is JSON, which
html_page.js shows as text. A content security policy allows the page's two scripts, by their
digests, and nothing else.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from itertools import zip_longest
from pathlib import Path

from clickstream.durations import format_time
from clickstream.report.html_cards import Card, Group, Table, groups
from clickstream.report.html_charts import Chart, as_script_json
from clickstream.report.models import Report
from clickstream.report.number_format import percent
from clickstream.report.sections import Facts, key_figures, period
from clickstream.untrusted_text import clean

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "echarts" / "echarts.min.js"
SCRIPT = FOLDER / "html_page.js"
STYLE_SHEET = FOLDER / "html_page.css"
# From this number of columns on, a row of a table is shown as a block on a narrow screen.
WIDE_TABLE = 4
# Columns of texts; all others except the first one have numbers, which stand on the right.
TEXT_COLUMNS = {"device", "hour", "last seen", "to", "visitor"}
# Up to this number of rows, a wide table below a chart is open: it says more than the chart.
OPEN_TABLE = 5
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Clickstream report, {time}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>Clickstream report</h1>
<p>Database {database}, {time}</p>
<p>{period}</p>
{figures}
</header>
<main>
<noscript><p>The charts need JavaScript. The tables have all numbers.</p></noscript>
{notice}
{groups}
</main>
{scripts}</body>
</html>
"""
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)


def html_page(report: Report, notice: str = "") -> str:
    """Return the report as an HTML document.

    report: with charts. notice: lines above everything else, such as the reason why there is
    nothing to show.
    """
    found = groups(report)
    has_charts = any(card.chart for group in found for card in group.cards)
    scripts = [LIBRARY.read_text("utf-8"), SCRIPT.read_text("utf-8")] if has_charts else []
    return PAGE.format(
        policy=POLICY.format(scripts=" ".join(map(_digest, scripts)) or "'none'"),
        time=format_time(report.generated_at, report.time_zone),
        style=STYLE_SHEET.read_text("utf-8"),
        database=_text(report.database),
        period=_text(period(report)),
        figures=_figures(_key_figures(report)) if report.overview.events else "",
        notice=_notice(notice) if notice else "",
        groups="\n".join(map(_group, found)),
        scripts="".join(f"<script>{script}</script>\n" for script in scripts),
    )


def _text(value: str) -> str:
    return escape(clean(value))


def _notice(notice: str) -> str:
    lines = "\n".join(map(_text, notice.splitlines()))
    return f'<pre class="notice">{lines}</pre>'


def _digest(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _key_figures(report: Report) -> Facts:
    bounce_rate = report.sessions.bounce_rate
    engaged = None if bounce_rate is None else 1 - bounce_rate
    return (*key_figures(report), ("engagement rate", percent(engaged)))


def _figures(facts: Facts) -> str:
    items = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts)
    return f'<dl class="figures">{"".join(items)}</dl>'


def _group(group: Group) -> str:
    cards = "\n".join(map(_card, group.cards))
    return f'<h2>{_text(group.title)}</h2>\n<div class="cards">\n{cards}\n</div>'


def _card(card: Card) -> str:
    parts = [
        f"<h3>{_text(card.title)}</h3>",
        f'<p class="note">{_text(card.note)}</p>' if card.note else "",
        _chart(card.chart, card.title) if card.chart else "",
        _facts(card.facts) if card.facts else "",
        _details(card.table, card) if card.table else "",
    ]
    return f'<section class="{card.size}">{"".join(parts)}</section>'


def _chart(chart: Chart, title: str) -> str:
    """Return an empty element for a chart, and after it the values that the script draws in it."""
    return (
        f'<div class="chart" role="img" aria-label="{_text(title)}: chart"></div>'
        f'<script type="application/json">{as_script_json(chart)}</script>'
    )


def _facts(facts: Facts) -> str:
    above = ["", *(name for name, _ in facts)]
    items = (
        f"<dt>{'' if name == last else _text(name)}</dt><dd>{_text(value)}</dd>"
        for last, (name, value) in zip(above, facts, strict=False)
    )
    return f'<dl class="facts">{"".join(items)}</dl>'


def _details(table: Table, card: Card) -> str:
    """Return the table of a card; below a chart it opens on a click."""
    if not card.chart:
        return _table(table)
    is_open = len(table.rows) <= OPEN_TABLE and len(table.columns) >= WIDE_TABLE
    return (
        f"<details{' open' if is_open else ''}>"
        f'<summary>Table<span class="hidden">: {_text(card.title)}</span></summary>'
        f"{_table(table)}</details>"
    )


def _table(table: Table) -> str:
    """Return a table. Its roles stay if a narrow screen shows each row as a block."""
    wide = ' class="wide"' if len(table.columns) >= WIDE_TABLE else ""
    head = "".join(
        f'<th role="columnheader" scope="col"{_alignment(name)}>{_text(name)}</th>'
        for name in table.columns
    )
    rows = "".join(
        _row(table.columns, row, title)
        for row, title in zip_longest(table.rows, table.titles, fillvalue="")
    )
    return (
        f'<table role="table"{wide}><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table>'
    )


def _row(columns: Sequence[str], row: Sequence[str], title: str) -> str:
    name, *values = row
    tooltip = f' title="{_text(title)}"' if title else ""
    cells = "".join(
        f'<td role="cell" data-label="{_text(column)}"{_alignment(column)}>{_text(value)}</td>'
        for column, value in zip(columns[1:], values, strict=True)
    )
    return (
        f'<tr role="row"><th role="rowheader" scope="row"{tooltip}>{_text(name)}</th>{cells}</tr>'
    )


def _alignment(column: str) -> str:
    return ' class="text"' if column in TEXT_COLUMNS else ""
