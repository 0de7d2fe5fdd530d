"""Starts of visits: in a closed population, or as Poisson arrivals.

Times are microseconds since 1970 UTC.
"""

from random import Random
from typing import Protocol

from clickstream.simulator.event_json import SECOND
from clickstream.simulator.seasonality import Seasonality


class Arrivals(Protocol):
    """Decides when visits begin."""

    def first(self, start: int) -> list[int]:
        """Return the times of the first visits."""

    def after_arrival(self, moment: int, happened: int) -> int | None:
        """Return the time of the next visit after one has begun, or None.

        moment: the schedule's time of the visit. happened: the time of its first event.
        """

    def after_departure(self, moment: int) -> int | None:
        """Return the time of the visit that replaces one that ended at `moment`, or None."""


class ClosedPopulation:
    """A constant number of active visitors: a visitor who leaves is replaced at once.

    spread: the first visits begin within this time, microseconds.
    """

    def __init__(self, active_visitors: int, spread: int, rng: Random) -> None:
        self._active_visitors = active_visitors
        self._spread = spread
        self._rng = rng

    def first(self, start: int) -> list[int]:
        return [
            start + int(self._rng.random() * self._spread) for _ in range(self._active_visitors)
        ]

    def after_arrival(self, moment: int, happened: int) -> None:  # noqa: ARG002
        return None

    def after_departure(self, moment: int) -> int:
        return moment


class PoissonArrivals:
    """Visits that begin independently of each other (a Poisson process), weighted by seasonality.

    visits_per_second: the average over a week.
    """

    def __init__(self, visits_per_second: float, seasonality: Seasonality, rng: Random) -> None:
        self._rate = visits_per_second / SECOND
        self._seasonality = seasonality
        self._rng = rng

    def first(self, start: int) -> list[int]:
        return [self.after_arrival(start, start)]

    def after_arrival(self, moment: int, happened: int) -> int:
        amount = self._rng.expovariate(self._rate)
        return moment + self._seasonality.after(happened, amount) - happened

    def after_departure(self, moment: int) -> None:  # noqa: ARG002
        return None
