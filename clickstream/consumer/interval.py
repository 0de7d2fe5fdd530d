"""A timer for work that is done every few seconds."""

from collections.abc import Callable
from time import monotonic


class Interval:
    """An interval that begins now, and again at each `restart`.

    seconds: its length. clock: returns seconds; it never goes back.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._began = clock()

    @property
    def is_over(self) -> bool:
        """True if this many seconds have passed since it began."""
        return self.seconds_left <= 0

    @property
    def seconds_left(self) -> float:
        """The seconds until it is over; 0 or less if it is."""
        return self._began + self._seconds - self._clock()

    def restart(self) -> float:
        """Begin the next interval; return the seconds since this one began."""
        began, self._began = self._began, self._clock()
        return self._began - began
