"""The progress bar on a terminal while records are sent."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from clickstream.sending.delivery import Sink


@contextmanager
def progress_bar(
    sink: Sink, total: int | None, outage: Callable[[], str]
) -> Iterator[Callable[[], None]]:
    """Show the progress of a sink as a bar. Yields a function that updates it.

    total: see `progress.display`. outage: returns a message about an outage, "" if there is none.
    """
    with _bar() as bar:
        task = bar.add_task("", total=total, rate=0, verb="", results="", state="")
        yield _on_bar(bar, task, sink, outage)


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:,} {task.fields[verb]}  {task.fields[rate]:,}/s"),
        TextColumn("{task.fields[results]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=Console(stderr=True),
        auto_refresh=False,
    )


def _on_bar(
    bar: Progress, task: TaskID, sink: Sink, outage: Callable[[], str]
) -> Callable[[], None]:
    began = time.monotonic()

    def show() -> None:
        sink.settle()
        bar.update(
            task,
            completed=sink.sent,
            rate=round(sink.sent / (time.monotonic() - began)),
            verb="sent" if sink.acknowledges else "printed",
            results=f"{sink.acknowledged:,} acknowledged  {sink.failed:,} failed"
            if sink.acknowledges
            else "",
            state=outage(),
            refresh=True,
        )

    return show
