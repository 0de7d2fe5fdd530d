"""The producer's command line: every option, checked and as one value."""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from clickstream import cli
from clickstream.durations import MICROSECOND, parse_duration, parse_time
from clickstream.errors import UsageError
from clickstream.settings import Settings, load
from clickstream.simulator.event_json import SECOND, microseconds

DESCRIPTION = """\
Send simulated visits, or a recorded file, to the topic.

Without options: live traffic of a shop until Ctrl-C, as lively as TARGET_ACTIVE_USERS and the
other knobs say; timestamps are the time of sending. What else there is for the time:
  --rate R        live as well: R events per second, whatever the knobs say
  --backfill 7d   a simulated past, as fast as possible: timestamps run from 7 days before --until
                  (now, where it is not given) up to it, busier by day and at weekends
  --backfill 7d --events N   the same, with exactly N events spread over that past
  --backfill 7d --speed 60   the same, but 60 simulated seconds take one second
  --replay FILE   recorded events with their own timestamps, as fast as possible
"""

EXAMPLES = """\
examples:
  python producer.py                                      live traffic
  python producer.py --events 20000 --backfill 2d         a believable past, in a second or two
  python producer.py --rate 5000                          a steady load
  python producer.py --replay events.ndjson.gz            what was recorded
  python producer.py --backfill 1d --until 2025-01-31T00:00:00Z --seed 7 --dry-run > a.ndjson
"""

# Setting: what it is, its unit.
KNOBS = {
    "target_active_users": "visitors on the site at a time; who leaves is replaced",
    "session_duration_min": "shortest visit, seconds",
    "session_duration_max": "longest visit, seconds; most are short, a quarter of it on average",
    "action_delay_min": "shortest time between two actions of a visitor, seconds",
    "action_delay_max": "longest time between two actions, seconds; most are short",
    "logout_failure_prob": "share of logged-in visitors who leave without logging out, 0 to 1",
    "session_inactivity_grace": "who failed to log out keeps the place this long, seconds",
    "batch_size": "largest batch of one partition, bytes",
    "linger_ms": "how long a batch waits to fill, milliseconds",
    "kafka_acks": "who must have an event before it counts as sent: all, 1 or 0",
}

ENDLESS = -1  # events
# Of --rate and --speed; one process sends some ten thousand events per second.
LOWEST, HIGHEST = 0.001, 100_000
DEFAULT_BACKFILL = 86_400 * SECOND
# From one event of a simulated past to the next, microseconds: no two have the same time.
CLOSEST_ON_AVERAGE = 4
# Options that make no sense with --replay.
SIMULATED_ONLY = (
    *("seed", "users", "backfill", "until", "truth"),
    *("late", "duplicate", "malformed", "skew", "unkeyed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one run is to do. Times and lengths are microseconds, skew seconds; None: not given."""

    profile: str
    events: int | None
    rate: float | None
    seed: int | None
    users: int | None
    backfill: int | None
    until: int | None
    speed: float | None
    replay: str | None
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
        """Whether events are made up as time goes, and not a past or a recording."""
        return self.backfill is None and self.until is None and self.replay is None


def read(argv: Sequence[str] | None, now: datetime) -> tuple[Options, Settings]:
    """The options of a command line, and the settings with its knobs in place.

    now: --until may not be later, as consumers reject what has not happened yet.
    Raises UsageError where they contradict each other; argparse exits by itself with 2.
    """
    arguments = vars(_parser().parse_args(argv))
    knobs = {name.upper(): arguments[name] for name in KNOBS if arguments[name] is not None}
    settings = load(arguments["env_file"], {**os.environ, **knobs})
    options = Options(**{item.name: arguments[item.name] for item in fields(Options)})
    if options.events is None and options.replay is None:
        options = replace(options, events=settings.num_events)
    if options.events == ENDLESS:
        options = replace(options, events=None)
    _check(options, settings, now)
    return options, settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_traffic(parser.add_argument_group("traffic"))
    _add_time(parser.add_argument_group("time"))
    _add_faults(parser.add_argument_group("faults on purpose, each counted in the report"))
    _add_replay(parser.add_argument_group("recorded events"))
    _add_knobs(parser.add_argument_group("knobs", "each beats the setting of the same name"))
    parser.add_argument(
        "--dry-run", action="store_true", help="print the events, one a line, instead of sending"
    )
    cli.add_version(parser)
    cli.add_env_file(parser)
    return parser


def _add_traffic(group: Any) -> None:
    group.add_argument(
        "--profile", choices=("shop", "news"), default="shop", help="kind of site (default: shop)"
    )
    group.add_argument(
        "--events",
        type=_number_of_events,
        metavar="N",
        help="stop after N events; -1: never (default: the setting NUM_EVENTS, which is -1 where "
        "it is not set)",
    )
    group.add_argument(
        "--rate",
        type=_number(LOWEST, HIGHEST),
        metavar="R",
        help="events per second, in place of TARGET_ACTIVE_USERS (with --backfill: per simulated "
        "second, on average; default: TARGET_ACTIVE_USERS decides)",
    )
    group.add_argument(
        "--users",
        type=_positive_whole,
        metavar="N",
        help="population that visitors come from (default: 20 for each active one, at least 200)",
    )
    group.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="the same seed gives the same visits; with --backfill and --until the same bytes "
        "(default: different each time)",
    )


def _add_time(group: Any) -> None:
    group.add_argument(
        "--backfill",
        type=_duration,
        metavar="SPAN",
        help="simulate a past of this length, e.g. 7d, 36h, 90m, 45s (default with --until: 1d)",
    )
    group.add_argument(
        "--until",
        type=_time,
        metavar="TIME",
        help="end of the simulated past, ISO 8601, UTC where it has no zone (default: now)",
    )
    group.add_argument(
        "--speed",
        type=_number(LOWEST, HIGHEST),
        metavar="X",
        help="with --backfill or --replay: X seconds of timestamps pass in one second "
        "(default: as fast as possible)",
    )


SHARES = {
    "--late": "share of the events that are sent later than they happened, 0 to 1 (default: 0)",
    "--duplicate": "share of the events that are sent again within a minute, 0 to 1 (default: 0)",
    "--malformed": "records that are no events, of every kind, on top: so many for each event, "
    "0 to 1 (default: 0)",
}


def _add_faults(group: Any) -> None:
    for name, text in SHARES.items():
        group.add_argument(name, type=_number(0, 1), default=0.0, metavar="P", help=text)
    group.add_argument(
        "--max-lateness",
        type=_duration,
        default="90m",
        metavar="SPAN",
        help="of the late ones, how much later at most, like 45s, 90m, 36h (default: 90m)",
    )
    group.add_argument(
        "--skew",
        type=_number(0, HIGHEST),
        default=0.0,
        metavar="SECONDS",
        help="visitors' clocks are wrong by up to so many seconds, ahead or behind (default: 0)",
    )
    group.add_argument(
        "--unkeyed",
        action="store_true",
        help="send without keys: a visitor's events are spread over all partitions (default: the "
        "visitor is the key)",
    )
    group.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="write what a perfect consumer must store; see: python summary.py --compare FILE",
    )


def _add_replay(group: Any) -> None:
    group.add_argument(
        "--replay",
        metavar="FILE",
        help="send the lines of a file (also .gz, or - for standard input) as they are, one "
        "JSON event each",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="with --replay: stop at a line that is no event instead of sending it as it is",
    )


def _add_knobs(group: Any) -> None:
    defaults = {item.name: item.metadata["default"] for item in fields(Settings)}
    for name, meaning in KNOBS.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="X",
            help=f"{meaning} (default: {defaults[name]})",
        )


def _check(options: Options, settings: Settings, now: datetime) -> None:
    """Refuse what contradicts itself."""
    if options.skew and options.skew >= settings.max_future_seconds:
        raise UsageError(
            f"--skew must stay below MAX_FUTURE_SECONDS ({settings.max_future_seconds}): "
            "a consumer rejects what is further ahead"
        )
    if options.strict and options.replay is None:
        raise UsageError("--strict goes with --replay only")
    if options.replay is not None:
        _check_replay(options)
    elif not options.is_live:
        _check_past(options, microseconds(now))
    elif options.speed is not None:
        raise UsageError(
            "--speed needs --backfill or --replay: live events carry the time of sending"
        )


def _check_replay(options: Options) -> None:
    if not options.replay:
        raise UsageError("--replay needs the name of a file, or - for standard input")
    for name in SIMULATED_ONLY:
        if getattr(options, name):
            raise UsageError(f"--{name} is for simulated traffic; --replay sends what is recorded")
    if options.rate is not None and options.speed is not None:
        raise UsageError("give --replay either --rate or --speed")


def _check_past(options: Options, now: int) -> None:
    end = now if options.until is None else options.until
    if end > now:
        raise UsageError("--until must not be in the future: consumers reject such events")
    span = options.backfill or DEFAULT_BACKFILL
    if end - span - options.skew * SECOND < 0:
        raise UsageError("the simulated past must not begin before 1970; shorten --backfill")
    if options.events is not None and options.events * CLOSEST_ON_AVERAGE > span:
        raise UsageError(
            f"{options.events} events do not fit into so short a past; lengthen --backfill"
        )
    if options.events is not None and options.rate is not None:
        raise UsageError(
            "give --backfill either --events (or NUM_EVENTS) or --rate: each decides the other"
        )


def _number_of_events(text: str) -> int:
    return ENDLESS if text == str(ENDLESS) else _positive_whole(text)


def _positive_whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 up")
    return int(text)


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be a number from {low:g} to {high:g}")
        return number

    return parse


def _duration(text: str) -> int:
    return parse_duration(text) // MICROSECOND


def _time(text: str) -> int:
    return microseconds(parse_time(text))
