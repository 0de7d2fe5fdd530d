"""The health of a consumer, for the platform that restarts it and sends it work."""

from collections.abc import Callable
from time import monotonic

# The loop waits for a server for a shorter time, and then tries again: an outage is no hang.
HANGING_SECONDS = 120.0


class Health:
    """The state that a consumer's loop reports, and other threads read.

    is_ready: True if it is a settled member of its group and its last transaction was committed.
    is_behind: True if many records waited for it when it last read.
    clock: returns seconds; it never goes back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._advanced_at = clock()
        self.is_ready = False
        self.is_behind = False

    def advance(self) -> None:
        """Report that the loop makes progress."""
        self._advanced_at = self._clock()

    @property
    def is_alive(self) -> bool:
        """True unless the loop has hung for HANGING_SECONDS."""
        return self._clock() - self._advanced_at < HANGING_SECONDS
