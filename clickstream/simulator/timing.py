"""Times of the events: as scheduled, at a constant rate, or a fixed number in a time range.

Times are microseconds since 1970 UTC.
"""

from typing import Protocol

from clickstream.simulator.event_json import SECOND
from clickstream.simulator.seasonality import Seasonality


class EventTiming(Protocol):
    """Maps the schedule's time of each event to the time at which the event happens."""

    def at(self, moment: int) -> int:
        """Return the time of the next event; called once per event.

        moment: the schedule's time of the event. It never decreases, and neither does the result.
        """


class ScheduledTiming:
    """Events happen when they are scheduled, at least one microsecond apart."""

    def __init__(self) -> None:
        self._last = 0

    def at(self, moment: int) -> int:
        self._last = max(moment, self._last + 1)
        return self._last


class ConstantRate:
    """Exactly `rate` events per second, from `start` on."""

    def __init__(self, rate: float, start: int) -> None:
        self._start = start
        self._gap = SECOND / rate
        self._count = 0

    def at(self, moment: int) -> int:  # noqa: ARG002 - the rate alone decides
        self._count += 1
        return self._start + int(self._count * self._gap)


class FixedCount:
    """Exactly `events` events between start and end, distributed by the seasonality.

    The schedule's time runs faster or slower, so that the remaining events fit the remaining
    time. No event comes after `end`: the last ones may be close together.
    """

    MIN_SPEED, MAX_SPEED = 0.5, 4.0
    # With an exponent of 1, a deviation would be corrected only in the last minutes.
    CORRECTION_EXPONENT = 4
    MIN_GAP = 2 * SECOND

    def __init__(self, events: int, start: int, end: int, seasonality: Seasonality) -> None:
        self._remaining = events
        self._seasonality = seasonality
        self._now = start
        self._end = end
        self._moment = start
        self._events_per_weighted_time = events / seasonality.between(start, end)
        self._min_gap = min(self.MIN_GAP, (end - start) // (4 * events))

    def at(self, moment: int) -> int:
        weighted_time = self._seasonality.between(self._now, self._end)
        expected = self._events_per_weighted_time * weighted_time
        correction = (expected / self._remaining) ** self.CORRECTION_EXPONENT
        speed = min(max(self.MIN_SPEED, correction), self.MAX_SPEED)
        proposed = self._now + int((moment - self._moment) * speed)
        latest = self._end - self._remaining * self._min_gap
        self._now = max(self._now + 1, min(proposed, latest))
        self._moment = moment
        self._remaining -= 1
        return self._now
