"""The simulated traffic: how visitors behave, how many there are, and when."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitBehaviour:
    """The behaviour of the visitors. All times are seconds.

    profile: "shop" or "news". session_timeout: pauses between visits are shorter and longer than
    this. inactivity_grace: how long a visitor who leaves without logout counts as active.
    """

    profile: str
    session_timeout: int
    min_duration: float
    max_duration: float
    min_action_delay: float
    max_action_delay: float
    logout_failure_probability: float
    inactivity_grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedTraffic:
    """The traffic of one run.

    active_visitors: visitors on the site at a time. rate: events per second; it replaces
    active_visitors if given. population: number of different visitors (None: 20 for each active
    one). events: number of events (None: unlimited). backfill: length of a simulated past,
    microseconds (None: live traffic). until: end of that past, microseconds since 1970 (None:
    now). skew: largest error of the visitors' clocks, microseconds. seed: None for a random one.
    """

    behaviour: VisitBehaviour
    active_visitors: int
    rate: float | None
    population: int | None
    events: int | None
    backfill: int | None
    until: int | None
    skew: int
    seed: int | None
