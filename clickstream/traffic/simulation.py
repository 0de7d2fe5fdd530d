"""From the options to a stream of events: how lively, from when to when."""

from collections.abc import Iterator
from itertools import islice, takewhile
from random import Random

from clickstream.settings import Settings
from clickstream.traffic import rhythm
from clickstream.traffic.events import SECOND, Event
from clickstream.traffic.identities import Identities
from clickstream.traffic.options import DEFAULT_BACKFILL, Options
from clickstream.traffic.schedule import (
    AsScheduled,
    ByChance,
    Filling,
    Places,
    Population,
    Schedule,
    Steady,
    Tempo,
    measure,
)

VISITORS_PER_ACTIVE_ONE = 20
FEWEST_VISITORS = 200


def simulate(options: Options, settings: Settings, now: int) -> Iterator[Event]:
    """The events that the options ask for, in the order of their time (microseconds).

    now: when live traffic starts, and where a simulated past ends unless `until` is given.
    """
    rng = Random(options.seed)
    identities = Identities(skew=options.skew)
    tempo = measure(settings, options.profile, identities)
    if options.backfill is None and options.until is None:
        events = _live(options, settings, now, identities, tempo, rng)
    else:
        end = now if options.until is None else options.until
        events = _past(options, settings, end, identities, tempo, rng)
    return events if options.events is None else islice(events, options.events)


def _live(
    options: Options,
    settings: Settings,
    start: int,
    identities: Identities,
    tempo: Tempo,
    rng: Random,
) -> Iterator[Event]:
    places = settings.target_active_users
    if options.rate is not None:
        places = max(1, round(options.rate / tempo.events_per_second))
    people = Population(identities, _users(options, places), rng)
    arrivals = Places(places, int(SECOND / tempo.events_per_second), rng)
    clock = AsScheduled() if options.rate is None else Steady(options.rate, start)
    return Schedule(settings, options.profile, people, arrivals, clock, rng).events(start)


def _past(
    options: Options,
    settings: Settings,
    end: int,
    identities: Identities,
    tempo: Tempo,
    rng: Random,
) -> Iterator[Event]:
    start = end - (options.backfill or DEFAULT_BACKFILL)
    rate = options.rate or settings.target_active_users * tempo.events_per_second
    if options.events is not None:
        rate = options.events * SECOND / rhythm.visits_between(start, end)
    people = Population(identities, _users(options, rate / tempo.events_per_second), rng)
    arrivals = ByChance(rate / tempo.events_per_visit, rng)
    clock = AsScheduled() if options.events is None else Filling(options.events, start, end)
    events = Schedule(settings, options.profile, people, arrivals, clock, rng).events(start)
    return takewhile(lambda event: event.due < end, events)


def _users(options: Options, active: float) -> int:
    return options.users or max(FEWEST_VISITORS, round(active * VISITORS_PER_ACTIVE_ONE))
