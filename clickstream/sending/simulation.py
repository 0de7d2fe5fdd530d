"""From the options to a stream of events: how lively, from when to when."""

from collections.abc import Iterator
from itertools import islice, takewhile
from random import Random

from clickstream.errors import UsageError
from clickstream.sending.options import DEFAULT_BACKFILL, Options
from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, Event
from clickstream.simulator.identities import Identities
from clickstream.simulator.schedule import (
    Arrivals,
    AsScheduled,
    ByChance,
    Clock,
    Filling,
    Places,
    Population,
    Schedule,
    Steady,
    measure,
)
from clickstream.simulator.seasonality import Rhythm

VISITORS_PER_ACTIVE_ONE = 20
FEWEST_VISITORS = 200


class Simulation:
    """The traffic that the options ask for. Making one takes about a second.

    Raises UsageError where there are too few visitors.
    """

    def __init__(self, options: Options, settings: Settings) -> None:
        self._options = options
        self._settings = settings
        self._rng = Random(options.seed)
        self._identities = Identities(skew=int(options.skew * SECOND))
        self._tempo = measure(settings, options.profile, self._identities)
        self._places = settings.target_active_users
        if options.rate is not None:
            self._places = round(options.rate / self._tempo.events_per_second) or 1
        if options.is_live and options.users is not None and options.users < self._places:
            raise UsageError(
                f"{self._places} visitors are to be active at a time and there are only "
                f"{options.users}; raise --users, or lower --rate or TARGET_ACTIVE_USERS"
            )

    def events(self, now: int) -> Iterator[Event]:
        """The events in the order of their time; called once.

        now: when live traffic starts, and where a simulated past ends unless `until` says it;
        microseconds.
        """
        options = self._options
        events = self._live(now) if options.is_live else self._past(*self._span(now))
        return events if options.events is None else islice(events, options.events)

    def expected(self, now: int) -> int | None:
        """About how many events there will be, None if they have no end. now: as for `events`."""
        options = self._options
        if options.events is not None or options.is_live:
            return options.events
        start, end = self._span(now)
        return round(self._usual_rate * Rhythm(end).between(start, end) / SECOND)

    @property
    def _usual_rate(self) -> float:
        """Events per second, on average, of a past that no number of events is given for."""
        active = self._settings.target_active_users
        return self._options.rate or active * self._tempo.events_per_second

    def _span(self, now: int) -> tuple[int, int]:
        """When a past begins and ends."""
        options = self._options
        end = now if options.until is None else options.until
        return end - (options.backfill or DEFAULT_BACKFILL), end

    def _live(self, start: int) -> Iterator[Event]:
        rate, places = self._options.rate, self._places
        arrivals = Places(places, int(SECOND / self._tempo.events_per_second), self._rng)
        clock = AsScheduled() if rate is None else Steady(rate, start)
        return self._schedule(places, arrivals, clock).events(start)

    def _past(self, start: int, end: int) -> Iterator[Event]:
        options, tempo = self._options, self._tempo
        rate = self._usual_rate
        clock: Clock = AsScheduled()
        rhythm = Rhythm(end)
        if options.events:
            rate = options.events * SECOND / rhythm.between(start, end)
            clock = Filling(options.events, start, end, rhythm)
        arrivals = ByChance(rate / tempo.events_per_visit, rhythm, self._rng)
        events = self._schedule(rate / tempo.events_per_second, arrivals, clock).events(start)
        return takewhile(lambda event: event.due < end, events)

    def _schedule(self, active: float, arrivals: Arrivals, clock: Clock) -> Schedule:
        size = self._options.users or max(FEWEST_VISITORS, round(active * VISITORS_PER_ACTIVE_ONE))
        timeout = self._settings.session_timeout_seconds
        people = Population(self._identities, size, timeout, self._rng)
        profile = self._options.profile
        return Schedule(self._settings, profile, people, arrivals, clock, self._rng)
