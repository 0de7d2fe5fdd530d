"""What summary.py does: asks the tables one question and shows the answer in one form."""

import argparse
import signal
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
from rich.console import Console, Group, RenderableType
from rich.live import Live

from clickstream import cli
from clickstream.clients.postgres import Connection, connect_or_explain
from clickstream.durations import format_time
from clickstream.errors import UsageError, UserError, first_line
from clickstream.report import terminal
from clickstream.report.figures import Report
from clickstream.report.layout import what_if_section
from clickstream.report.machine import as_json
from clickstream.report.page import as_html
from clickstream.report.queries import read_report
from clickstream.report.session_detail import session_detail
from clickstream.report.what_if import what_if
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage.interruptible import interruptible_queries
from clickstream.untrusted_text import clean
from clickstream.verify.stored_sessions import verify_sessions
from clickstream.verify.truth_file import compare_with_truth

REFRESH_SECONDS = 2
NO_EVENTS = """\
Database {} has no events yet. To store some, each in a terminal of its own:
  python consumer.py
  python producer.py"""
NO_EVENTS_SINCE = "No event happened since {}; the newest is of {}."


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Answer what the arguments ask; the exit status.

    Raises UserError where the server, the tables or what is asked for is not there.
    """
    _check(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    try:
        with (
            closing(connect_or_explain(settings, application="clickstream summary")) as connection,
            interruptible_queries(),
        ):
            return _answer(connection, arguments)
    except psycopg2.Error as error:
        raise UserError(f"PostgreSQL: {first_line(error)}") from None


def _answer(connection: Connection, arguments: argparse.Namespace) -> int:
    if arguments.verify:
        return _verify(connection)
    if arguments.compare is not None:
        return _compare(connection, arguments.compare)
    console = terminal.open_console()
    if arguments.what_if_timeout is not None:
        _what_if(console, connection, arguments)
    elif arguments.session is not None:
        _session(console, connection, arguments)
    elif arguments.watch:
        _watch(console, connection, arguments)
    else:
        _report(console, connection, arguments)
    return cli.DONE


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    proof = arguments.verify or arguments.compare is not None
    report = not (proof or arguments.what_if_timeout is not None or arguments.session is not None)
    if (arguments.html or arguments.watch) and not report:
        raise UsageError("--html and --watch show the report alone; ask the rest without them")
    if arguments.json and proof:
        raise UsageError("--verify and --compare answer by their exit status, not in JSON")
    if arguments.since is not None and (proof or arguments.session is not None):
        raise UsageError("--since goes with the report and with --what-if-timeout")
    if arguments.watch and not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal; without one, run the report again as needed")


def _verify(connection: Connection) -> int:
    found = verify_sessions(connection)
    checked = (
        f"{found.counts.events:,} events, {found.counts.sessions:,} sessions and "
        f"{found.counts.records:,} records in {found.seconds:.1f} s"
    )
    if not found.differences.number:
        print(
            f"Verified {checked}: every session is what the rule says of the events, every "
            "session id is that of its first event, and records read = events + duplicates + "
            "rejected."
        )
        return cli.DONE
    print("\n".join(found.differences.lines()))
    print(f"Checked {checked}.")
    if found.in_sessions:
        print("To recompute every session: python create_schema.py --rebuild-sessions")
    return cli.FAILED


def _compare(connection: Connection, path: Path) -> int:
    differences = compare_with_truth(connection, path)
    if differences.number:
        print("\n".join(differences.lines()))
        return cli.FAILED
    print(f"The tables hold exactly what {clean(str(path))} says.")
    return cli.DONE


def _what_if(console: Console, connection: Connection, arguments: argparse.Namespace) -> None:
    found = what_if(connection, arguments.what_if_timeout, arguments.since)
    if arguments.json:
        print(as_json(found))
    else:
        terminal.show(console, [terminal.render(what_if_section(found), bars=False)])


def _session(console: Console, connection: Connection, arguments: argparse.Namespace) -> None:
    detail = session_detail(connection, arguments.session)
    if arguments.json:
        print(as_json(detail))
    else:
        terminal.show(console, terminal.session_parts(detail))


def _report(console: Console, connection: Connection, arguments: argparse.Namespace) -> None:
    report = read_report(connection, arguments.since)
    nothing = _nothing(report)
    if arguments.json:
        print(as_json(report))
    elif nothing:
        print(nothing)
    elif arguments.html is not None:
        _write(arguments.html, as_html(report))
    else:
        terminal.show(console, terminal.report_parts(report, bars=console.is_terminal))


def _nothing(report: Report) -> str | None:
    """A sentence for where there is nothing to report."""
    newest = report.quality.newest_event
    if newest is None and not report.quality.records:
        return NO_EVENTS.format(clean(report.database))
    if not report.overview.events and not report.overview.sessions and report.since and newest:
        return NO_EVENTS_SINCE.format(format_time(report.since), format_time(newest))
    return None


def _write(path: Path, document: str) -> None:
    try:
        path.write_text(document, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; check --html") from None
    print(f"The report was written to {path}.")


def _watch(console: Console, connection: Connection, arguments: argparse.Namespace) -> None:
    stop = Stop().on_signals()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.requested:
            report = read_report(connection, arguments.since)
            live.update(_screen(console, report), refresh=True)
            stop.wait(REFRESH_SECONDS)


def _screen(console: Console, report: Report) -> RenderableType:
    """As many parts of the report as the screen has lines for."""
    nothing = _nothing(report)
    if nothing:
        return Group(nothing)
    parts: list[RenderableType] = []
    left = console.height - 1
    for part in terminal.report_parts(report, bars=True):
        left -= len(console.render_lines(part, pad=False))
        if left < 0:
            break
        parts.append(part)
    return Group(*parts)
