"""The simulation: turns a description of traffic into a stream of events."""

from collections.abc import Iterator
from itertools import islice, takewhile
from random import Random

from clickstream.errors import UsageError
from clickstream.simulator.arrivals import Arrivals, ClosedPopulation, PoissonArrivals
from clickstream.simulator.event_json import SECOND, SimulatedEvent
from clickstream.simulator.identities import Identities
from clickstream.simulator.schedule import Schedule, measure
from clickstream.simulator.seasonality import Seasonality
from clickstream.simulator.timing import ConstantRate, EventTiming, FixedCount, ScheduledTiming
from clickstream.simulator.traffic import SimulatedTraffic
from clickstream.simulator.visitor_pool import VisitorPool

VISITORS_PER_ACTIVE_VISITOR = 20
MIN_POPULATION = 200


class Simulation:
    """The events of one description of traffic. Creating one takes about a second.

    Raises UsageError if there are fewer visitors than are to be active at a time.
    """

    def __init__(self, traffic: SimulatedTraffic) -> None:
        self._traffic = traffic
        self._rng = Random(traffic.seed)
        self._identities = Identities(skew=traffic.skew)
        self._averages = measure(traffic.behaviour, self._identities)
        self._active_visitors = traffic.active_visitors
        if traffic.rate is not None:
            self._active_visitors = round(traffic.rate / self._averages.events_per_second) or 1
        population = traffic.population
        if self._is_live and population is not None and population < self._active_visitors:
            raise UsageError(
                f"{self._active_visitors} visitors are to be active at a time, but there are only "
                f"{population}; raise --users, or lower --rate or TARGET_ACTIVE_USERS"
            )

    def events(self, now: int) -> Iterator[SimulatedEvent]:
        """Return the events ordered by time; to be called once.

        now: start of live traffic, and end of a simulated past that has no `until`;
        microseconds since 1970.
        """
        events = self._live(now) if self._is_live else self._past(*self._time_range(now))
        limit = self._traffic.events
        return events if limit is None else islice(events, limit)

    def expected(self, now: int) -> int | None:
        """Return about how many events there will be, or None if they are unlimited."""
        if self._traffic.events is not None or self._is_live:
            return self._traffic.events
        start, end = self._time_range(now)
        return round(self._average_rate * Seasonality(end).between(start, end) / SECOND)

    @property
    def _is_live(self) -> bool:
        return self._traffic.backfill is None

    @property
    def _average_rate(self) -> float:
        """Events per second of a past without a given number of events."""
        active = self._traffic.active_visitors
        return self._traffic.rate or active * self._averages.events_per_second

    def _time_range(self, now: int) -> tuple[int, int]:
        """Return start and end of a simulated past."""
        end = now if self._traffic.until is None else self._traffic.until
        return end - (self._traffic.backfill or 0), end

    def _live(self, start: int) -> Iterator[SimulatedEvent]:
        rate, active = self._traffic.rate, self._active_visitors
        spread = int(SECOND / self._averages.events_per_second)
        arrivals = ClosedPopulation(active, spread, self._rng)
        timing = ScheduledTiming() if rate is None else ConstantRate(rate, start)
        return self._schedule(active, arrivals, timing).events(start)

    def _past(self, start: int, end: int) -> Iterator[SimulatedEvent]:
        limit, averages = self._traffic.events, self._averages
        rate = self._average_rate
        timing: EventTiming = ScheduledTiming()
        seasonality = Seasonality(end)
        if limit:
            rate = limit * SECOND / seasonality.between(start, end)
            timing = FixedCount(limit, start, end, seasonality)
        arrivals = PoissonArrivals(rate / averages.events_per_visit, seasonality, self._rng)
        active = rate / averages.events_per_second
        events = self._schedule(active, arrivals, timing).events(start)
        return takewhile(lambda event: event.due < end, events)

    def _schedule(self, active: float, arrivals: Arrivals, timing: EventTiming) -> Schedule:
        behaviour = self._traffic.behaviour
        usual = max(MIN_POPULATION, round(active * VISITORS_PER_ACTIVE_VISITOR))
        size = self._traffic.population or usual
        pool = VisitorPool(self._identities, size, behaviour.session_timeout, self._rng)
        return Schedule(behaviour, pool, arrivals, timing, self._rng)
