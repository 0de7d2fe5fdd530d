"""Who is on the site when: visits that begin, go on and end, in one stream ordered by time.

Times are microseconds since 1970 UTC. A heap holds what each active visitor does next. Two ways
for visits to begin: on a number of places, where whoever leaves is replaced at once (live
traffic), or by chance, more of them at busy hours (a simulated past).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from itertools import count, islice, takewhile
from random import Random
from typing import Protocol

import orjson

from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, Action, Event, timestamp, uuid7
from clickstream.simulator.identities import Identities, Visitor
from clickstream.simulator.journeys import Journey, NewsVisit, ShopVisit
from clickstream.simulator.seasonality import Rhythm

# How often a visitor comes back for sure.
RETURNS = 0.45
# After how long: under the session timeout, just over it, the same day, the next day.
PAUSE_WEIGHTS = (35, 20, 30, 15)

ORDER_LINE_GAP = 1_000
TRIES_TO_FIND_SOMEBODY = 20

TRIAL_VISITS = 400
TRIAL_EVENTS = 20_000


class Clock(Protocol):
    """Says when the next event happens, given the time that the schedule has it at."""

    def at(self, moment: int) -> int:
        """Called once per event, with times that never go back; neither does what it returns."""


class AsScheduled:
    """Events happen when the schedule has them, at least one microsecond apart."""

    def __init__(self) -> None:
        self._last = 0

    def at(self, moment: int) -> int:
        self._last = max(moment, self._last + 1)
        return self._last


class Steady:
    """Exactly `rate` events per second, from `start` on."""

    def __init__(self, rate: float, start: int) -> None:
        self._start = start
        self._gap = SECOND / rate
        self._count = 0

    def at(self, moment: int) -> int:  # noqa: ARG002 - the pace alone decides
        self._count += 1
        return self._start + int(self._count * self._gap)


class Filling:
    """Exactly `events` events between start and end, as busy as the hours are.

    The schedule's own time is followed, a little faster or slower as what is left of the events
    fits what is left of the time. `end` is never passed: the last events may come close together.
    """

    SLOWEST, FASTEST = 0.5, 4.0
    # With 1, what is missing or too much would be made up for in the last minutes only.
    ZEAL = 4
    CLOSEST = 2 * SECOND

    def __init__(self, events: int, start: int, end: int, rhythm: Rhythm) -> None:
        self._left = events
        self._rhythm = rhythm
        self._now = start
        self._end = end
        self._moment = start
        self._per_visit_time = events / rhythm.between(start, end)
        self._closest = min(self.CLOSEST, (end - start) // (4 * events))

    def at(self, moment: int) -> int:
        expected = self._per_visit_time * self._rhythm.between(self._now, self._end)
        pace = min(max(self.SLOWEST, (expected / self._left) ** self.ZEAL), self.FASTEST)
        proposed = self._now + int((moment - self._moment) * pace)
        latest = self._end - self._left * self._closest
        self._now = max(self._now + 1, min(proposed, latest))
        self._moment = moment
        self._left -= 1
        return self._now


class Arrivals(Protocol):
    """Says when visits begin."""

    def first(self, start: int) -> list[int]:
        """The arrivals to begin with."""

    def after_arrival(self, moment: int, happened: int) -> int | None:
        """The arrival after one that the schedule had at `moment` and that came at `happened`."""

    def after_leaving(self, moment: int) -> int | None:
        """The arrival that a place that became free at `moment` makes room for."""


class Places:
    """A constant number of places: who leaves is replaced. The first come within `settle`."""

    def __init__(self, number: int, settle: int, rng: Random) -> None:
        self._number = number
        self._settle = settle
        self._rng = rng

    def first(self, start: int) -> list[int]:
        return [start + int(self._rng.random() * self._settle) for _ in range(self._number)]

    def after_arrival(self, moment: int, happened: int) -> None:  # noqa: ARG002
        return None

    def after_leaving(self, moment: int) -> int:
        return moment


class ByChance:
    """Visits begin by chance (a Poisson process), more of them at busy hours.

    per_second: the average over a week.
    """

    def __init__(self, per_second: float, rhythm: Rhythm, rng: Random) -> None:
        self._rate = per_second / SECOND
        self._rhythm = rhythm
        self._rng = rng

    def first(self, start: int) -> list[int]:
        return [self.after_arrival(start, start)]

    def after_arrival(self, moment: int, happened: int) -> int:
        amount = self._rng.expovariate(self._rate)
        return moment + self._rhythm.after(happened, amount) - happened

    def after_leaving(self, moment: int) -> None:  # noqa: ARG002
        return None


def _pauses(timeout: int) -> tuple[tuple[int, int], ...]:
    """The shortest and the longest of each kind of pause between visits, seconds."""
    near = (timeout // 10, timeout * 4 // 5), (timeout + timeout // 30 + 1, timeout * 3 // 2 + 1)
    return *near, (3_600, 21_600), (64_800, 108_000)


class Population:
    """The visitors 0 to size - 1, of whom some come often. Nobody is on two visits at a time.

    timeout: a longer pause than this between two visits splits sessions, seconds.
    """

    def __init__(self, identities: Identities, size: int, timeout: int, rng: Random) -> None:
        self._identities = identities
        self._size = size
        self._pauses = _pauses(timeout)
        self._rng = rng
        self._busy: set[int] = set()
        self._away: list[tuple[int, int]] = []

    def arrive(self, moment: int) -> Visitor | None:
        """The next visitor; None while everybody is on a visit."""
        number = self._due_back(moment)
        if number is None:
            return None
        self._busy.add(number)
        return self._identities.visitor(number)

    def leave(self, visitor: Visitor, moment: int) -> None:
        """End a visit; who means to come back stays away until then."""
        if self._rng.random() < RETURNS:
            shortest, longest = self._rng.choices(self._pauses, PAUSE_WEIGHTS)[0]
            back = moment + self._rng.randint(shortest, longest) * SECOND
            heappush(self._away, (back, visitor.number))
        else:
            self._busy.discard(visitor.number)

    def _due_back(self, moment: int) -> int | None:
        if self._away and self._away[0][0] <= moment:
            return heappop(self._away)[1]
        for _ in range(TRIES_TO_FIND_SOMEBODY):
            number = int(self._size * self._rng.random() * self._rng.random())
            if number not in self._busy:
                return number
        if self._away:
            return heappop(self._away)[1]
        return next((n for n in range(self._size) if n not in self._busy), None)


@dataclass(slots=True)
class _Visit:
    visitor: Visitor
    journey: Journey
    actions: Iterator[Action]
    key: bytes
    page_view_end: bytes
    other_end: bytes
    ends_at: int
    leaving: bool = False


class Schedule:
    """The visits of one site.

    settings: the traffic knobs. profile: "shop" or "news". `visits` counts those begun.
    """

    def __init__(
        self,
        settings: Settings,
        profile: str,
        people: Population,
        arrivals: Arrivals,
        clock: Clock,
        rng: Random,
    ) -> None:
        self.visits = 0
        self._settings = settings
        self._profile = profile
        self._people = people
        self._arrivals = arrivals
        self._clock = clock
        self._rng = rng
        self._delay_min = int(settings.action_delay_min * SECOND)
        self._delay_span = (settings.action_delay_max - settings.action_delay_min) * SECOND
        self._heap: list[tuple[int, int, _Visit | None]] = []
        self._numbers = count()

    def events(self, start: int) -> Iterator[Event]:
        """All events from `start` on, in the order of their time, without end."""
        for moment in self._arrivals.first(start):
            self._push_arrival(moment)
        happened = start
        while self._heap:
            moment, _, waiting = self._heap[0]
            visit = waiting or self._begin(moment)
            then = None
            if visit:
                action = visit.journey.log_out() if visit.leaving else next(visit.actions)
                happened = self._clock.at(moment)
                yield self._event(visit, action, happened)
                then = self._after(visit, action, moment)
            if then is None:
                heappop(self._heap)
            else:
                heapreplace(self._heap, (then, next(self._numbers), visit))
            if not waiting:
                self._push_arrival(self._arrivals.after_arrival(moment, happened))

    def _begin(self, moment: int) -> _Visit | None:
        visitor = self._people.arrive(moment)
        if visitor is None:
            return None
        self.visits += 1
        journey: Journey = (
            ShopVisit(self._rng) if self._profile == "shop" else NewsVisit(self._rng, moment)
        )
        key = visitor.user_id.encode()
        ends_at = moment + self._duration()
        return _Visit(visitor, journey, journey.actions(), key, *visitor.shown(self._rng), ends_at)

    def _event(self, visit: _Visit, action: Action, happened: int) -> Event:
        time = happened + visit.visitor.clock_error
        own = {
            "event_id": uuid7(time, self._rng),
            "event_type": action.event_type,
            "timestamp": timestamp(time),
            **action.fields,
        }
        end = visit.page_view_end if action.event_type == "page_view" else visit.other_end
        return Event(happened, time, visit.key, orjson.dumps(own)[:-1] + end)

    def _after(self, visit: _Visit, action: Action, moment: int) -> int | None:
        """When the visit goes on; None where that was all."""
        if visit.leaving:
            self._free(visit, moment)
            return None
        if action.continued:
            return moment + ORDER_LINE_GAP
        then = moment + self._delay()
        return then if then <= visit.ends_at else self._leave(visit, max(moment, visit.ends_at))

    def _leave(self, visit: _Visit, moment: int) -> int | None:
        """When the visit logs out; None where it does not."""
        if not visit.journey.logged_in:
            self._free(visit, moment)
        elif self._rng.random() < self._settings.logout_failure_prob:
            self._free(visit, moment + int(self._settings.session_inactivity_grace * SECOND))
        else:
            visit.leaving = True
            return moment
        return None

    def _free(self, visit: _Visit, moment: int) -> None:
        self._people.leave(visit.visitor, moment)
        self._push_arrival(self._arrivals.after_leaving(moment))

    def _push_arrival(self, moment: int | None) -> None:
        if moment is not None:
            heappush(self._heap, (moment, next(self._numbers), None))

    def _delay(self) -> int:
        """From one action to the next: mostly short, a quarter of the way to the longest."""
        return self._delay_min + int(self._delay_span * self._rng.random() * self._rng.random())

    def _duration(self) -> int:
        """Of a visit: mostly short, a quarter of the way to the longest on average."""
        low, high = self._settings.session_duration_min, self._settings.session_duration_max
        return int((low + (high - low) * self._rng.random() ** 3) * SECOND)


@dataclass(frozen=True, slots=True)
class Tempo:
    """What visits amount to. seconds_per_visit: for how long one takes a place."""

    events_per_visit: float
    seconds_per_visit: float

    @property
    def events_per_second(self) -> float:
        """Of one place."""
        return self.events_per_visit / self.seconds_per_visit


def measure(settings: Settings, profile: str, identities: Identities) -> Tempo:
    """Try some visits, one after the other. Always the same for the same settings."""
    rng = Random(0)
    people = Population(identities, 1000, settings.session_timeout_seconds, rng)
    schedule = Schedule(settings, profile, people, Places(1, 0, rng), AsScheduled(), rng)
    dues = [
        event.due
        for event in takewhile(
            lambda _: schedule.visits <= TRIAL_VISITS, islice(schedule.events(0), TRIAL_EVENTS)
        )
    ]
    return Tempo(len(dues) / schedule.visits, max(dues[-1], 1) / SECOND / schedule.visits)
