"""The pace of sending: when the next record is due."""

import time
from collections.abc import Callable
from typing import TypeAlias

from clickstream.sending.options import Options
from clickstream.signals import Stop
from clickstream.simulator.event_json import DUE_NOW, SECOND

# Many short waits cost more than sending does; a long one would delay the display.
MIN_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.002, 0.2

# Waits until a time is due, and calls the function meanwhile.
Wait: TypeAlias = Callable[[int, Callable[[], None]], None]


def pace(options: Options, now: int, stop: Stop) -> Wait:
    """Return the function that waits until a simulated or recorded time is due.

    now: start of live traffic, microseconds since 1970.
    """
    if options.is_live:
        return Pace(1, stop, now).wait
    if options.replay and options.rate is not None:
        return Pace(1, stop, 0).wait
    if options.speed is not None:
        return Pace(options.speed, stop).wait
    return no_wait


def no_wait(_due: int, _show: Callable[[], None]) -> None:
    """Return at once: send as fast as possible."""


class Pace:
    """Lets `speed` seconds of simulated time pass in one second.

    start: the simulated time at creation, microseconds; None: the first `due` is due at once.
    """

    def __init__(self, speed: float, stop: Stop, start: int | None = None) -> None:
        self._per_second = speed * SECOND
        self._stop = stop
        self._start = start
        self._began = time.monotonic()

    def wait(self, due: int, show: Callable[[], None]) -> None:
        """Wait until a time is due or a stop is requested, and call `show` meanwhile."""
        if due == DUE_NOW:
            return
        if self._start is None:
            self._start = due
            self._began = time.monotonic()
        at = self._began + (due - self._start) / self._per_second
        while (left := at - time.monotonic()) > 0 and not self._stop.requested:
            self._stop.wait(min(max(left, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS))
            show()
