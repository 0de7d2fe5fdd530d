"""Simulated traffic for the tests of the producer."""

from collections import defaultdict
from functools import cache
from itertools import islice
from random import Random
from typing import Any

from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, Event
from clickstream.simulator.identities import Identities
from clickstream.simulator.schedule import AsScheduled, Places, Population, Schedule

# 2025-11-10T00:00:00Z, a Monday.
START = 1_762_732_800 * SECOND


@cache
def identities(skew: int = 0) -> Identities:
    """The population, made once: it takes a while."""
    return Identities(skew=skew * SECOND)


def live(
    events: int,
    *,
    profile: str = "shop",
    places: int = 200,
    seed: int = 1,
    skew: int = 0,
    **knobs: str,
) -> list[Event]:
    """Live traffic on so many places; skew in seconds, knobs as in the environment."""
    rng = Random(seed)
    settings = Settings.from_mapping(knobs)
    people = Population(identities(skew), 20 * places, settings.session_timeout_seconds, rng)
    arrivals = Places(places, 8 * SECOND, rng)
    schedule = Schedule(settings, profile, people, arrivals, AsScheduled(), rng)
    return list(islice(schedule.events(START), events))


def by_visit(events: list[Event]) -> list[list[Event]]:
    """The events of each visit, in the order of their time."""
    visits: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        visits[event.payload["visit_id"]].append(event)
    return list(visits.values())


def steps(visit: list[Event]) -> list[dict[str, Any]]:
    """What the events of a visit carry."""
    return [event.payload for event in visit]
