"""What a person sees while records are sent: a bar on a terminal, a line per interval elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from clickstream.traffic.delivery import Sink

logger = logging.getLogger(__name__)

BAR_SECONDS = 0.2
LINE_SECONDS = 5.0


@contextmanager
def shown(sink: Sink, total: int | None) -> Iterator[Callable[[], None]]:
    """Show how far a sink is. Yields a function to call often, which shows what changed.

    total: how many records are to come, None where nobody knows.
    """
    if not sys.stderr.isatty():
        yield _every(LINE_SECONDS, _Lines(sink).show)
        return
    with _bar() as bar:
        task = bar.add_task("", total=total, rate=0, acknowledged=0, failed=0)
        started = time.monotonic()

        def show() -> None:
            sink.settle()
            bar.update(
                task,
                completed=sink.sent,
                rate=round(sink.sent / (time.monotonic() - started)),
                acknowledged=sink.acknowledged,
                failed=sink.failed,
                refresh=True,
            )

        yield _every(BAR_SECONDS, show)
        show()


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.completed:,} events  {task.fields[rate]:,}/s"),
        TextColumn("{task.fields[acknowledged]:,} acknowledged  {task.fields[failed]:,} failed"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
    )


class _Lines:
    """One log line with the counts, and the rate since the one before."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._sent = sink.sent
        self._time = time.monotonic()

    def show(self) -> None:
        now = time.monotonic()
        sink = self._sink
        sink.settle()
        rate = (sink.sent - self._sent) / (now - self._time)
        self._sent, self._time = sink.sent, now
        logger.info(
            "sent %d (%.0f/s), acknowledged %d, failed %d",
            sink.sent,
            rate,
            sink.acknowledged,
            sink.failed,
        )


def _every(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """A function that acts when so much time has passed since it last did."""
    due = time.monotonic() + seconds

    def maybe() -> None:
        nonlocal due
        if time.monotonic() >= due:
            act()
            due = time.monotonic() + seconds

    return maybe
