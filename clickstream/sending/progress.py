"""What a person sees while records are sent: a bar on a terminal, a line per interval elsewhere."""

import logging
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

logger = logging.getLogger(__name__)

BAR_SECONDS = 0.2
LINE_SECONDS = 5.0
# Without an answer for so long, the broker is said to be away.
SILENCE_SECONDS = 3.0


class Silence:
    """Notices that a server has stopped answering."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._answered = 0
        self._heard = time.monotonic()

    def seconds(self) -> float:
        """For how long it has owed an answer; to be asked now and then."""
        now = time.monotonic()
        answered = self._sink.acknowledged + self._sink.failed
        all_answered = answered == self._sink.sent and not self._sink.is_waiting
        if answered != self._answered or all_answered:
            self._answered, self._heard = answered, now
        return now - self._heard

    def sentence(self) -> str:
        """What to tell a person; empty while all is well."""
        silent = self.seconds()
        if silent < SILENCE_SECONDS:
            return ""
        return f"no answer from Kafka for {silent:.0f} s, waiting"


@contextmanager
def shown(sink: Sink, total: int | None, *, bar: bool) -> Iterator[Callable[[], None]]:
    """Show how far a sink is. Yields a function to call often, which shows what changed.

    total: about how many records are to come, None where nobody knows. bar: on a terminal.
    """
    silence = Silence(sink)
    if bar:
        with _bar() as display:
            task = display.add_task("", total=total, rate=0, acknowledged=0, failed=0, state="")
            show = _on_bar(display, task, sink, silence)
            yield _every(BAR_SECONDS, show)
            show()
    else:
        yield _every(LINE_SECONDS, _in_lines(sink, silence))


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:,} sent  {task.fields[rate]:,}/s"),
        TextColumn("{task.fields[acknowledged]:,} acknowledged  {task.fields[failed]:,} failed"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=Console(stderr=True),
        auto_refresh=False,
    )


def _on_bar(bar: Progress, task: TaskID, sink: Sink, silence: Silence) -> Callable[[], None]:
    began = time.monotonic()

    def show() -> None:
        sink.settle()
        bar.update(
            task,
            completed=sink.sent,
            rate=round(sink.sent / (time.monotonic() - began)),
            acknowledged=sink.acknowledged,
            failed=sink.failed,
            state=silence.sentence(),
            refresh=True,
        )

    return show


def _in_lines(sink: Sink, silence: Silence) -> Callable[[], None]:
    sent, looked = sink.sent, time.monotonic()

    def show() -> None:
        nonlocal sent, looked
        sink.settle()
        rate = (sink.sent - sent) / (time.monotonic() - looked)
        sent, looked = sink.sent, time.monotonic()
        counts = (sink.sent, rate, sink.acknowledged, sink.failed)
        logger.info("sent %d (%.0f/s), acknowledged %d, failed %d", *counts)
        if sentence := silence.sentence():
            logger.warning("%s", sentence)

    return show


def _every(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """A function that acts when so much time has passed since it last did."""
    due = time.monotonic() + seconds

    def maybe() -> None:
        nonlocal due
        if time.monotonic() >= due:
            act()
            due = time.monotonic() + seconds

    return maybe
