"""Waiting for something to become true, up to a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Long enough for a machine four times as slow as a laptop. A test of a promise gives its own limit.
DEADLINE_SECONDS = 90.0
DEADLINE_MILLISECONDS = 1_000 * DEADLINE_SECONDS
# Between two checks. After a check that takes long, this many times as long as it took, so that
# waiting does not take the CPU time of what is waited for.
INTERVAL_SECONDS = 0.05
LONGEST_INTERVAL_SECONDS = 0.5
TIMES_CHECK = 4


def eventually(check: Callable[[], T | None], seconds: float = DEADLINE_SECONDS) -> T:
    """Call `check` until its result is true, and return that result; fail after `seconds`.

    An AssertionError inside `check` counts as a result that is not true.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        try:
            result = check()
            if result:
                return result
            last: object = result
        except AssertionError as error:
            last = error
        ended = time.monotonic()
        if ended > deadline:
            raise AssertionError(f"not within {seconds:g} s; last: {last!r}")
        interval = max(INTERVAL_SECONDS, TIMES_CHECK * (ended - began))
        time.sleep(min(interval, LONGEST_INTERVAL_SECONDS))


def pause(seconds: float) -> None:
    """Let a fault last; what a test waits for is given to `eventually` instead."""
    time.sleep(seconds)
