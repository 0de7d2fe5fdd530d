"""Simulated events for the tests of the producer."""

from collections import defaultdict
from dataclasses import replace
from functools import cache
from itertools import islice
from random import Random
from typing import Any

from clickstream.sending.options import visit_behaviour
from clickstream.settings import Settings
from clickstream.simulator.arrivals import ClosedPopulation
from clickstream.simulator.event_json import SECOND, SimulatedEvent
from clickstream.simulator.identities import BOT_USER_AGENTS, Identities
from clickstream.simulator.schedule import Schedule
from clickstream.simulator.simulation import Simulation
from clickstream.simulator.timing import ScheduledTiming
from clickstream.simulator.traffic import SimulatedTraffic
from clickstream.simulator.visitor_pool import VisitorPool

DAY = 86_400 * SECOND
# 2025-11-10T00:00:00Z, a Monday.
START = 1_762_732_800 * SECOND
UNTIL = START + 14 * DAY

DEFAULT_TRAFFIC = SimulatedTraffic(
    behaviour=visit_behaviour("shop", Settings()),
    active_visitors=Settings().target_active_users,
    rate=None,
    population=None,
    events=None,
    backfill=None,
    until=None,
    skew=0,
    seed=None,
)


@cache
def identities(skew: int = 0) -> Identities:
    """Return the visitors; created once because it takes a second. skew: seconds."""
    return Identities(skew=skew * SECOND)


def live(
    events: int,
    *,
    profile: str = "shop",
    active_visitors: int = 200,
    seed: int = 1,
    skew: int = 0,
    **settings: str,
) -> list[SimulatedEvent]:
    """Return events of live traffic. skew: seconds. settings: as in the environment."""
    rng = Random(seed)
    behaviour = visit_behaviour(profile, Settings.from_mapping(settings))
    size = 20 * active_visitors
    pool = VisitorPool(identities(skew), size, behaviour.session_timeout, rng)
    arrivals = ClosedPopulation(active_visitors, 8 * SECOND, rng)
    schedule = Schedule(behaviour, pool, arrivals, ScheduledTiming(), rng)
    return list(islice(schedule.events(START), events))


def simulation(**traffic: Any) -> Simulation:
    """Return a simulation of the default traffic with the given differences."""
    return Simulation(replace(DEFAULT_TRAFFIC, **traffic))


def past(days: float, **traffic: Any) -> list[SimulatedEvent]:
    """Return the events of a simulated past that ends at UNTIL."""
    given = {"backfill": int(days * DAY), "until": UNTIL, "seed": 3, **traffic}
    return list(simulation(**given).events(UNTIL))


def by_visit(events: list[SimulatedEvent]) -> list[list[SimulatedEvent]]:
    """Return the events of each visit, ordered by time."""
    visits: dict[str, list[SimulatedEvent]] = defaultdict(list)
    for event in events:
        visits[event.payload["visit_id"]].append(event)
    return list(visits.values())


def is_of_a_person(visit: list[SimulatedEvent]) -> bool:
    """Return True if the visit is of a person, False if it is of a bot."""
    return visit[0].payload["user_agent"] not in BOT_USER_AGENTS


def payloads(visit: list[SimulatedEvent]) -> list[dict[str, Any]]:
    """Return the fields of each event of a visit."""
    return [event.payload for event in visit]
