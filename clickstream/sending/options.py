"""The producer's options: one checked value, and the traffic and faults that it describes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path

from clickstream.errors import UsageError
from clickstream.model.field_names import (
    NATIVE_EVENT_TYPES,
    NATIVE_FIELD_NAMES,
    EventTypes,
    FieldNames,
)
from clickstream.sending.arguments import SETTING_OPTIONS, UNLIMITED, parser
from clickstream.sending.native_json import Renaming
from clickstream.settings import Settings, load
from clickstream.simulator.event_json import SECOND, microseconds
from clickstream.simulator.faults import FaultRates
from clickstream.simulator.traffic import SimulatedTraffic, VisitBehaviour

DEFAULT_BACKFILL = 86_400 * SECOND
# Smallest average gap between the events of a simulated past, microseconds: all times differ.
MIN_AVERAGE_GAP = 4
# Options that cannot be combined with --replay.
SIMULATION_ONLY = (
    *("seed", "users", "backfill", "until", "truth"),
    *("late", "duplicate", "malformed", "skew", "unkeyed"),
)
# Options that need --replay.
REPLAY_ONLY = ("map", "map_types", "strict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one run; None: not given.

    Times and lengths of time are microseconds, skew is seconds.
    """

    profile: str
    events: int | None
    rate: float | None
    seed: int | None
    users: int | None
    backfill: int | None
    until: int | None
    speed: float | None
    replay: str | None
    map: FieldNames | None
    map_types: EventTypes | None
    strict: bool
    late: float
    max_lateness: int
    duplicate: float
    malformed: float
    skew: float
    unkeyed: bool
    truth: Path | None
    dry_run: bool

    @property
    def is_live(self) -> bool:
        """Return True if events are simulated in real time: neither a past nor a recording."""
        return self.backfill is None and self.until is None and self.replay is None


def read_options(argv: Sequence[str] | None, now: datetime) -> tuple[Options, Settings]:
    """Return the options of a command line, and the settings with its overrides applied.

    now: the latest --until that is allowed, because consumers reject events of the future.
    Raises UsageError if options contradict each other; argparse itself exits with 2.
    """
    arguments = vars(parser().parse_args(argv))
    overrides = {
        name.upper(): arguments[name] for name in SETTING_OPTIONS if arguments[name] is not None
    }
    settings = load(arguments["env_file"], {**os.environ, **overrides})
    options = Options(**{item.name: arguments[item.name] for item in fields(Options)})
    if options.events is None and options.replay is None:
        options = replace(options, events=settings.num_events)
    if options.events == UNLIMITED:
        options = replace(options, events=None)
    _check(options, settings, now)
    return options, settings


def traffic(options: Options, settings: Settings) -> SimulatedTraffic:
    """Return the traffic to simulate."""
    return SimulatedTraffic(
        behaviour=visit_behaviour(options.profile, settings),
        active_visitors=settings.target_active_users,
        rate=options.rate,
        population=options.users,
        events=options.events,
        backfill=None if options.is_live else _backfill(options),
        until=options.until,
        skew=int(options.skew * SECOND),
        seed=options.seed,
    )


def visit_behaviour(profile: str, settings: Settings) -> VisitBehaviour:
    """Return the behaviour of the visitors. profile: "shop" or "news"."""
    return VisitBehaviour(
        profile=profile,
        session_timeout=settings.session_timeout_seconds,
        min_duration=settings.session_duration_min,
        max_duration=settings.session_duration_max,
        min_action_delay=settings.action_delay_min,
        max_action_delay=settings.action_delay_max,
        logout_failure_probability=settings.logout_failure_prob,
        inactivity_grace=settings.session_inactivity_grace,
    )


def fault_rates(options: Options) -> FaultRates:
    """Return how often each deliberate fault is to occur."""
    return FaultRates(
        late=options.late,
        max_lateness=options.max_lateness,
        duplicate=options.duplicate,
        malformed=options.malformed,
        skew=options.skew,
        unkeyed=options.unkeyed,
    )


def renaming(options: Options) -> Renaming | None:
    """Return the renaming of recorded events, or None if they are sent as they are."""
    if options.map is None and options.map_types is None:
        return None
    return Renaming(options.map or NATIVE_FIELD_NAMES, options.map_types or NATIVE_EVENT_TYPES)


def _backfill(options: Options) -> int:
    return options.backfill or DEFAULT_BACKFILL


def _check(options: Options, settings: Settings, now: datetime) -> None:
    """Raise UsageError if options contradict each other."""
    if options.skew and options.skew >= settings.max_future_seconds:
        raise UsageError(
            f"--skew must be below MAX_FUTURE_SECONDS ({settings.max_future_seconds}): "
            "consumers reject events that are further ahead"
        )
    for name in REPLAY_ONLY:
        if getattr(options, name) and options.replay is None:
            raise UsageError(f"--{name.replace('_', '-')} needs --replay")
    if options.replay is not None:
        _check_replay(options)
    elif not options.is_live:
        _check_past(options, microseconds(now))
    elif options.speed is not None:
        raise UsageError(
            "--speed needs --backfill or --replay: live events have the time of sending"
        )


def _check_replay(options: Options) -> None:
    if not options.replay:
        raise UsageError("--replay needs the name of a file, or - for standard input")
    for name in SIMULATION_ONLY:
        if getattr(options, name):
            raise UsageError(f"--{name} is for simulated traffic; --replay sends recorded events")
    if options.rate is not None and options.speed is not None:
        raise UsageError("give --replay either --rate or --speed")


def _check_past(options: Options, now: int) -> None:
    end = now if options.until is None else options.until
    if end > now:
        raise UsageError("--until must not be in the future: consumers reject such events")
    length = _backfill(options)
    if end - length - options.skew * SECOND < 0:
        raise UsageError("the simulated past must not begin before 1970; shorten --backfill")
    if options.events is not None and options.events * MIN_AVERAGE_GAP > length:
        raise UsageError(
            f"{options.events} events do not fit into this simulated past; lengthen --backfill"
        )
    if options.events is not None and options.rate is not None:
        raise UsageError(
            "give --backfill either --events (or NUM_EVENTS) or --rate: one determines the other"
        )
