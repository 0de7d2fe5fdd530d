"""The progress display while records are sent: a bar on a terminal, otherwise log lines."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clickstream.sending.delivery import Sink

logger = logging.getLogger(__name__)

BAR_SECONDS = 0.2
LINE_SECONDS = 5.0
# Show an outage if the server has not answered for this long.
OUTAGE_SECONDS = 3.0


class OutageDetector:
    """Measures how long a server has not answered."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._answered = 0
        self._last_answer = time.monotonic()

    def seconds(self) -> float:
        """Return how long records have been pending without an answer. Call it often."""
        now = time.monotonic()
        answered = self._sink.acknowledged + self._sink.failed
        all_answered = answered == self._sink.sent and not self._sink.is_waiting
        if answered != self._answered or all_answered:
            self._answered, self._last_answer = answered, now
        return now - self._last_answer

    def message(self) -> str:
        """Return a message about the outage; empty if there is none."""
        seconds = self.seconds()
        if seconds < OUTAGE_SECONDS:
            return ""
        return f"no answer from Kafka for {seconds:.0f} s, waiting"


def counts(sink: Sink, rate: float | None = None) -> str:
    """Return the counts of a sink as a log line shows them. rate: records per second."""
    per_second = "" if rate is None else f" ({rate:.0f}/s)"
    failed = f", failed {sink.failed}"
    if sink.acknowledges:
        return f"sent {sink.sent}{per_second}, acknowledged {sink.acknowledged}{failed}"
    return f"printed {sink.acknowledged}{per_second}{failed if sink.failed else ''}"


@contextmanager
def display(sink: Sink, total: int | None, *, bar: bool) -> Iterator[Callable[[], None]]:
    """Show the progress of a sink. Yields a function to call often, which updates the display.

    total: about how many records there will be, None if unknown. bar: show a bar, not log lines.
    """
    outage = OutageDetector(sink)
    if bar:
        from clickstream.sending.progress_bar import progress_bar  # slow to import

        with progress_bar(sink, total, outage.message) as show:
            yield _every(BAR_SECONDS, show)
            show()
    else:
        yield _every(LINE_SECONDS, _in_lines(sink, outage))


def _in_lines(sink: Sink, outage: OutageDetector) -> Callable[[], None]:
    sent, shown_at = sink.sent, time.monotonic()

    def show() -> None:
        nonlocal sent, shown_at
        sink.settle()
        rate = (sink.sent - sent) / (time.monotonic() - shown_at)
        sent, shown_at = sink.sent, time.monotonic()
        logger.info("%s", counts(sink, rate))
        if message := outage.message():
            logger.warning("%s", message)

    return show


def _every(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `act` at most once per interval."""
    due = time.monotonic() + seconds

    def maybe() -> None:
        nonlocal due
        if time.monotonic() >= due:
            act()
            due = time.monotonic() + seconds

    return maybe
