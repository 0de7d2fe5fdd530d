"""Texts of `python -m clickstream retain`: its progress and its result."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clickstream.admin.retain import RetainReport
from clickstream.byte_sizes import format_bytes
from clickstream.durations import format_time
from clickstream.plurals import plural


def survey_lines(found: RetainReport) -> list[str]:
    """Return what would be removed."""
    return [
        f"Events before {format_time(found.kept_from)} would not be kept.",
        f"To be removed: {_removable(found)}.",
        "Nothing was changed.",
    ]


def result_lines(removed: RetainReport) -> list[str]:
    """Return what was removed."""
    lines = [
        f"Events before {format_time(removed.kept_from)} are not kept.",
        f"Removed: {_removable(removed)}.",
    ]
    if removed.sessions or removed.rejected_records:
        lines.append("PostgreSQL uses this space for new rows after its next autovacuum.")
    return lines


@contextmanager
def removal_progress() -> Iterator[Callable[[RetainReport, int], None]]:
    """Show the progress as a bar while standard error is a terminal.

    Yields a function of what there is to be removed and the number of sessions that are gone.
    """
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


def _removable(found: RetainReport) -> str:
    sessions = f"{found.sessions:,} {plural(found.sessions, 'session')}"
    if found.first_event and found.last_event:
        events = f"{found.events:,} {plural(found.events, 'event')}"
        times = f"{format_time(found.first_event)} to {format_time(found.last_event)}"
        sessions = f"{sessions} with {events}, {times}"
    records = f"{found.rejected_records:,} rejected {plural(found.rejected_records, 'record')}"
    return f"{sessions}; {records}; about {format_bytes(found.bytes)}"
