"""How busy a site is by hour and weekday. Times are microseconds since 1970 UTC."""

from itertools import accumulate

from clickstream.simulator.event_json import SECOND

HOUR = 3600 * SECOND
WEEK = 168 * HOUR
# 1970-01-01 was a Thursday.
FIRST_MONDAY = 4 * 24 * HOUR

# fmt: off
BY_HOUR = (
    30, 20, 14, 11, 11, 16, 30, 50, 72, 88, 97, 103,
    110, 108, 100, 98, 100, 108, 124, 142, 152, 146, 108, 62,
)
# fmt: on
BY_WEEKDAY = (100, 98, 98, 100, 104, 116, 120)

_RAW = [hour * day for day in BY_WEEKDAY for hour in BY_HOUR]
# The weight of each hour of the week, 1 on average; and the sum of those before it.
WEIGHTS = [raw * len(_RAW) / sum(_RAW) for raw in _RAW]
BEFORE = [0.0, *accumulate(WEIGHTS)]


class Rhythm:
    """How busy it is up to `end`: as the hour and the weekday are, but in the last hour at least
    as on average, so that a past that ends at night has visitors on the site too.
    """

    def __init__(self, end: int) -> None:
        self._busy_from = end - HOUR

    def between(self, start: int, end: int) -> float:
        """How much happens from start to end: microseconds, each weighted with how busy it is."""
        usual = _since_monday(end) - _since_monday(start)
        time = max(start, self._busy_from)
        while time < end:
            weight, until = self._weight(time)
            usual += (weight - _usual_weight(time)) * (min(until, end) - time)
            time = until
        return usual

    def after(self, start: int, amount: float) -> int:
        """The time by which that much has happened since `start`, the inverse of `between`."""
        time = start
        while True:
            weight, until = self._weight(time)
            if amount <= (until - time) * weight:
                return time + int(amount / weight)
            amount -= (until - time) * weight
            time = until

    def _weight(self, time: int) -> tuple[float, int]:
        """How busy it is at a time, and until when; 1 is the average of a week."""
        weight = _usual_weight(time)
        until = time + HOUR - time % HOUR
        if time < self._busy_from:
            return weight, min(until, self._busy_from)
        return max(weight, 1.0), until


def _usual_weight(time: int) -> float:
    return WEIGHTS[(time - FIRST_MONDAY) % WEEK // HOUR]


def _since_monday(time: int) -> float:
    weeks, position = divmod(time - FIRST_MONDAY, WEEK)
    hour, rest = divmod(position, HOUR)
    return float(weeks * WEEK) + HOUR * BEFORE[hour] + rest * WEIGHTS[hour]
