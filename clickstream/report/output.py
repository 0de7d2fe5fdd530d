"""Printing the report, a session, a visitor, two timeouts; writing an HTML file."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import RenderableType

from clickstream.durations import format_time
from clickstream.errors import UserError
from clickstream.pasteable import pasteable
from clickstream.report import session_text, terminal
from clickstream.report.html_page import html_page
from clickstream.report.models import Report
from clickstream.report.sections import what_if_section
from clickstream.report.session_detail import SessionDetail
from clickstream.report.visitor_detail import VisitorDetail
from clickstream.report.what_if import WhatIf
from clickstream.untrusted_text import clean

NO_EVENTS = """\
Database {} has no events yet. To store some, run each in its own terminal:
  python consumer.py
  python producer.py"""
NO_EVENTS_SINCE = "No event happened since {}; the newest happened at {}."


def print_figures(figures: Report | SessionDetail | VisitorDetail | WhatIf) -> None:
    """Print the report, a session, a visitor or two timeouts as text."""
    match figures:
        case Report():
            _print_report(figures)
        case SessionDetail():
            _print_parts(session_text.session_parts(figures))
        case VisitorDetail():
            _print_parts(session_text.visitor_parts(figures))
        case WhatIf():
            _print_parts([terminal.render(what_if_section(figures), bars=False)])


def _print_report(report: Report) -> None:
    """Print the report, or a sentence if there is nothing to report."""
    if nothing := _nothing_to_report(report):
        print(pasteable(nothing))
    else:
        console = terminal.open_console()
        terminal.show(console, terminal.report_parts(report, bars=terminal.draws_bars(console)))


def write_report(report: Report, path: Path) -> None:
    """Write the report to an HTML file; without events, a page that says so.

    report: with charts. Raises UserError if the file cannot be written.
    """
    nothing = _nothing_to_report(report)
    try:
        path.write_text(html_page(report, notice=nothing or ""), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; check --html") from None
    if nothing:
        print(pasteable(nothing))
    print(f"The report was written to {path}.")


def _print_parts(parts: Iterable[RenderableType]) -> None:
    terminal.show(terminal.open_console(), parts)


def _nothing_to_report(report: Report) -> str | None:
    """Return what the report says if the database or the range has no events."""
    newest = report.quality.newest_event
    if newest is None and not report.quality.records:
        return NO_EVENTS.format(clean(report.database))
    if not report.overview.events and not report.overview.sessions and report.since and newest:
        times = (format_time(time, report.time_zone) for time in (report.since, newest))
        return NO_EVENTS_SINCE.format(*times)
    return None
