"""The visits of one site as one stream of events, ordered by time.

Times are microseconds since 1970 UTC. A heap holds the time of each active visit's next action
and of each visit that is about to begin.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from itertools import count, islice, takewhile
from random import Random

import orjson

from clickstream.simulator.arrivals import Arrivals, ClosedPopulation
from clickstream.simulator.event_json import SECOND, Action, SimulatedEvent, timestamp, uuid7
from clickstream.simulator.identities import Identities, SimulatedVisitor
from clickstream.simulator.journeys import Journey, begin_journey
from clickstream.simulator.timing import EventTiming, ScheduledTiming
from clickstream.simulator.traffic import VisitBehaviour
from clickstream.simulator.visitor_pool import VisitorPool

ORDER_LINE_GAP = 1_000  # microseconds
# The number of pages that a bot opens in a visit, and its pauses as a share of the range of pauses.
BOT_PAGES = (20, 60)
BOT_PAUSE = 0.02
# The smallest and largest part of the time since the last event in which the page was in use.
ATTENTION_PERMILLE = (300, 1_000)

TRIAL_POOL = 1_000
TRIAL_VISITS = 400
TRIAL_EVENTS = 20_000


@dataclass(slots=True)
class _Visit:
    """An active visit.

    delay_range: the longest pause between actions minus the shortest. attention_permille: the part
    of the time in which the page is in use; 0 if that is not measured. happened: time of the last
    event. leaving: the next action is the logout, which ends the visit.
    """

    visitor: SimulatedVisitor
    journey: Journey
    actions: Iterator[Action]
    key: bytes
    page_view_ending: bytes
    other_ending: bytes
    ends_at: int
    delay_range: float
    attention_permille: int
    happened: int = 0
    leaving: bool = False


class Schedule:
    """Runs the visits of one site. visits: number of visits begun so far."""

    def __init__(
        self,
        behaviour: VisitBehaviour,
        pool: VisitorPool,
        arrivals: Arrivals,
        timing: EventTiming,
        rng: Random,
    ) -> None:
        self.visits = 0
        self._behaviour = behaviour
        self._pool = pool
        self._arrivals = arrivals
        self._timing = timing
        self._rng = rng
        self._min_delay = int(behaviour.min_action_delay * SECOND)
        self._delay_range = (behaviour.max_action_delay - behaviour.min_action_delay) * SECOND
        self._heap: list[tuple[int, int, _Visit | None]] = []
        self._numbers = count()

    def events(self, start: int) -> Iterator[SimulatedEvent]:
        """Yield the events from `start` on, ordered by time, without end."""
        for moment in self._arrivals.first(start):
            self._push_arrival(moment)
        happened = start
        while self._heap:
            moment, _, active = self._heap[0]
            visit = active or self._begin(moment)
            then = None
            if visit:
                action = visit.journey.log_out() if visit.leaving else next(visit.actions)
                happened = self._timing.at(moment)
                yield self._event(visit, action, happened)
                then = self._next_action(visit, action, moment)
            if then is None:
                heappop(self._heap)
            else:
                heapreplace(self._heap, (then, next(self._numbers), visit))
            if not active:
                self._push_arrival(self._arrivals.after_arrival(moment, happened))

    def _begin(self, moment: int) -> _Visit | None:
        """Return a new visit, or None if no visitor is available."""
        rng = self._rng
        visitor = self._pool.begin_visit(moment)
        if visitor is None:
            return None
        self.visits += 1
        journey = begin_journey(self._behaviour.profile, visitor, rng, moment)
        ends_at = moment + (self._draw_crawl() if visitor.is_bot else self._draw_duration())
        page_view_ending, other_ending = visitor.json_endings(rng)
        return _Visit(
            visitor,
            journey,
            journey.actions(),
            visitor.user_id.encode(),
            page_view_ending,
            other_ending,
            ends_at,
            self._delay_range * (BOT_PAUSE if visitor.is_bot else 1),
            rng.randint(*ATTENTION_PERMILLE) if visitor.measures_engagement else 0,
        )

    def _event(self, visit: _Visit, action: Action, happened: int) -> SimulatedEvent:
        time = happened + visit.visitor.clock_error
        fields = {
            "event_id": uuid7(time, self._rng),
            "event_type": action.event_type,
            "timestamp": timestamp(time),
            **action.fields,
        }
        if visit.attention_permille and visit.happened:
            fields["engaged_ms"] = (
                (happened - visit.happened) * visit.attention_permille // 1_000_000
            )
        visit.happened = happened
        is_page_view = action.event_type == "page_view"
        ending = visit.page_view_ending if is_page_view else visit.other_ending
        value = orjson.dumps(fields)[:-1] + ending
        source = action.source or visit.journey.page_source
        return SimulatedEvent(happened, time, visit.key, value, source)

    def _next_action(self, visit: _Visit, action: Action, moment: int) -> int | None:
        """Return the time of the visit's next action, or None if the visit has ended."""
        if visit.leaving:
            self._end(visit, moment)
            return None
        if action.continued:
            return moment + ORDER_LINE_GAP
        then = moment + self._draw_delay(visit.delay_range)
        return then if then <= visit.ends_at else self._leave(visit, max(moment, visit.ends_at))

    def _leave(self, visit: _Visit, moment: int) -> int | None:
        """Return the time of the visit's logout, or None if it ends without one."""
        behaviour = self._behaviour
        if not visit.journey.logged_in:
            self._end(visit, moment)
        elif self._rng.random() < behaviour.logout_failure_probability:
            self._end(visit, moment + int(behaviour.inactivity_grace * SECOND))
        else:
            visit.leaving = True
            return moment
        return None

    def _end(self, visit: _Visit, moment: int) -> None:
        self._pool.end_visit(visit.visitor, moment)
        self._push_arrival(self._arrivals.after_departure(moment))

    def _push_arrival(self, moment: int | None) -> None:
        if moment is not None:
            heappush(self._heap, (moment, next(self._numbers), None))

    def _draw_delay(self, delay_range: float) -> int:
        """Return the time to the next action: mostly short, on average a quarter of the range."""
        return self._min_delay + int(delay_range * self._rng.random() * self._rng.random())

    def _draw_duration(self) -> int:
        """Return the length of a visit: mostly short, on average a quarter of the range."""
        low, high = self._behaviour.min_duration, self._behaviour.max_duration
        return int((low + (high - low) * self._rng.random() ** 3) * SECOND)

    def _draw_crawl(self) -> int:
        """Return the length of a bot's visit: the time for some dozen pages."""
        pause = self._min_delay + self._delay_range * BOT_PAUSE / 4
        longest = self._behaviour.max_duration * SECOND
        return int(min(self._rng.randint(*BOT_PAGES) * pause, longest))


@dataclass(frozen=True, slots=True)
class VisitAverages:
    """Averages over visits. seconds_per_visit: from one visit's begin to the next one's."""

    events_per_visit: float
    seconds_per_visit: float

    @property
    def events_per_second(self) -> float:
        """Events per second of one active visitor."""
        return self.events_per_visit / self.seconds_per_visit


def measure(behaviour: VisitBehaviour, identities: Identities) -> VisitAverages:
    """Simulate some hundred visits, one after the other, and return their averages.

    The random numbers have a fixed seed: the same behaviour gives the same averages.
    """
    rng = Random(0)
    pool = VisitorPool(identities, TRIAL_POOL, behaviour.session_timeout, rng)
    one_by_one = ClosedPopulation(1, 0, rng)
    schedule = Schedule(behaviour, pool, one_by_one, ScheduledTiming(), rng)
    first_events = islice(schedule.events(0), TRIAL_EVENTS)
    dues = [e.due for e in takewhile(lambda _: schedule.visits <= TRIAL_VISITS, first_events)]
    seconds = max(dues[-1], 1) / SECOND
    return VisitAverages(len(dues) / schedule.visits, seconds / schedule.visits)
