"""How busy a site is by hour and weekday. Times are microseconds since 1970 UTC."""

from itertools import accumulate

from clickstream.traffic.events import SECOND

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


def visits_between(start: int, end: int) -> float:
    """How much happens from start to end: microseconds, each weighted with how busy it is."""
    return _since_monday(end) - _since_monday(start)


def time_after(start: int, amount: float) -> int:
    """The time by which that much has happened since `start`, the inverse of `visits_between`."""
    time = start
    while True:
        position = (time - FIRST_MONDAY) % WEEK
        weight = WEIGHTS[position // HOUR]
        left = HOUR - position % HOUR
        if amount <= left * weight:
            return time + int(amount / weight)
        amount -= left * weight
        time += left


def _since_monday(time: int) -> float:
    weeks, position = divmod(time - FIRST_MONDAY, WEEK)
    hour, rest = divmod(position, HOUR)
    return float(weeks * WEEK) + HOUR * BEFORE[hour] + rest * WEIGHTS[hour]
