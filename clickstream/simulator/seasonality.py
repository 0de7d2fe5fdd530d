"""Traffic by hour of the day and day of the week (UTC). Times are microseconds since 1970 UTC."""

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
# The weight of each hour of the week, from Monday 0:00; the average is 1.
HOUR_WEIGHTS = [raw * len(_RAW) / sum(_RAW) for raw in _RAW]
# For each hour of the week, the sum of the weights of the hours before it.
CUMULATIVE_WEIGHTS = [0.0, *accumulate(HOUR_WEIGHTS)]


class Seasonality:
    """The weight of each moment up to `end`: by hour and weekday, 1 on average over a week.

    In the last hour before `end` the weight is at least 1, so that a simulated past that ends at
    night still has visitors on the site at its end.
    """

    def __init__(self, end: int) -> None:
        self._last_hour = end - HOUR

    def between(self, start: int, end: int) -> float:
        """Return the microseconds from start to end, each multiplied by its weight."""
        weighted = _weighted_since_monday(end) - _weighted_since_monday(start)
        time = max(start, self._last_hour)
        while time < end:
            weight, until = self._weight(time)
            weighted += (weight - _hour_weight(time)) * (min(until, end) - time)
            time = until
        return weighted

    def after(self, start: int, amount: float) -> int:
        """Return the end for which `between(start, end)` is `amount`."""
        time = start
        while True:
            weight, until = self._weight(time)
            if amount <= (until - time) * weight:
                return time + int(amount / weight)
            amount -= (until - time) * weight
            time = until

    def _weight(self, time: int) -> tuple[float, int]:
        """Return the weight of a moment, and the time until which it stays the same."""
        weight = _hour_weight(time)
        until = time + HOUR - time % HOUR
        if time < self._last_hour:
            return weight, min(until, self._last_hour)
        return max(weight, 1.0), until


def _hour_weight(time: int) -> float:
    return HOUR_WEIGHTS[(time - FIRST_MONDAY) % WEEK // HOUR]


def _weighted_since_monday(time: int) -> float:
    weeks, position = divmod(time - FIRST_MONDAY, WEEK)
    hour, rest = divmod(position, HOUR)
    return float(weeks * WEEK) + HOUR * CUMULATIVE_WEIGHTS[hour] + rest * HOUR_WEIGHTS[hour]
