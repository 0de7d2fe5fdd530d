"""`python -m clickstream retain` on the command line."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

from clickstream import cli
from clickstream.admin.database_command import add_database_command
from clickstream.admin.retain import RetainReport, retain, survey
from clickstream.byte_sizes import format_bytes
from clickstream.clients.postgres import connect_or_explain
from clickstream.durations import LONGEST, format_time
from clickstream.plurals import plural
from clickstream.report.as_json import as_json
from clickstream.settings import load
from clickstream.storage.interruptible import interruptible
from clickstream.storage.snapshot import snapshot, snapshot_time

APPLICATION = "clickstream retain"


def register(commands: cli.Subparsers) -> None:
    """Register the command."""
    summary = "keep the last N days: remove older sessions, their events, and rejected records"
    parser = add_database_command(commands, "retain", summary, _retain)
    parser.add_argument(
        "--days", type=_days, required=True, metavar="N", help="days to keep, counted back from now"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be removed, and change nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def _days(text: str) -> timedelta:
    """Read a number of days, as the type of an option. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= LONGEST.days):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of days from 1 to {LONGEST.days:,}"
        )
    return timedelta(days=int(text))


def _retain(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        with snapshot(connection) as cursor:
            kept_from = snapshot_time(cursor) - arguments.days
        if arguments.dry_run:
            report = interruptible(connection, lambda: survey(connection, kept_from))
        else:
            with _progress() as show:
                report = interruptible(connection, lambda: retain(connection, kept_from, show))
    print(as_json(report) if arguments.json else "\n".join(_lines(report)))
    return cli.DONE


@contextmanager
def _progress() -> Iterator[Callable[[RetainReport, int], None]]:
    """Show the progress as a bar while standard error is a terminal.

    Yields a function that takes the report of what is to be removed, and the number of sessions
    removed so far.
    """
    from rich.console import Console  # slow to import
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("sessions removed"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("", total=None)

        def show(found: RetainReport, gone: int) -> None:
            bar.update(task, total=found.sessions, completed=gone)

        yield show


def _lines(report: RetainReport) -> list[str]:
    """Return a report as lines to print."""
    limit = format_time(report.kept_from)
    if report.dry_run:
        return [
            f"Events before {limit} would not be kept.",
            f"To be removed: {_removable(report)}.",
            "Nothing was changed.",
        ]
    lines = [f"Events before {limit} are not kept.", f"Removed: {_removable(report)}."]
    if report.sessions or report.rejected_records:
        lines.append("PostgreSQL uses the space again after VACUUM, which autovacuum runs.")
    return lines


def _removable(found: RetainReport) -> str:
    sessions = f"{found.sessions:,} {plural(found.sessions, 'session')}"
    if found.first_event and found.last_event:
        events = f"{found.events:,} {plural(found.events, 'event')}"
        times = f"{format_time(found.first_event)} to {format_time(found.last_event)}"
        sessions = f"{sessions} with {events}, {times}"
    records = f"{found.rejected_records:,} rejected {plural(found.rejected_records, 'record')}"
    return f"{sessions}; {records}; about {format_bytes(found.bytes)}"
