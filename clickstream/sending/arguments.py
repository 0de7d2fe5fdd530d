"""The producer's argument parser: every option with its help, unit and default."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from clickstream import cli
from clickstream.durations import MICROSECOND, parse_duration, parse_time
from clickstream.model.field_names import parse_event_types, parse_field_names
from clickstream.settings import setting_fields
from clickstream.simulator.event_json import microseconds

T = TypeVar("T")

HELP_INTRODUCTION = """\
Send simulated visitor traffic, or a recorded file, to the topic.

Without options: live traffic of a shop until Ctrl-C, with TARGET_ACTIVE_USERS visitors on the
site; timestamps are the time of sending. Other time modes:
  --rate R        live traffic at R events per second
  --backfill 7d   a simulated past, sent as fast as possible: timestamps run from 7 days before
                  --until (default: now) up to it, with more traffic in the evening and at weekends
  --backfill 7d --events N   the same, with exactly N events in these 7 days
  --backfill 7d --speed 60   the same, but 60 simulated seconds take one second
  --replay FILE   recorded events with their own timestamps, sent as fast as possible
"""

HELP_EXAMPLES = """\
examples:
  python producer.py                                      live traffic
  python producer.py --events 20000 --backfill 2d         two days of traffic in a second or two
  python producer.py --rate 5000                          a constant load
  python producer.py --replay events.ndjson.gz            recorded events
  python producer.py --replay shop.csv --map 'user_id=visitor; event_type=event' --dry-run
  python producer.py --backfill 1d --until 2025-01-31T00:00:00Z --seed 7 --dry-run > a.ndjson
"""

# Setting that has an option of the same name: its meaning and unit.
SETTING_OPTIONS = {
    "target_active_users": "visitors on the site at a time; a visitor who leaves is replaced",
    "session_duration_min": "shortest visit, seconds",
    "session_duration_max": "longest visit, seconds; the average is about a quarter of it",
    "action_delay_min": "shortest time between two actions of a visitor, seconds",
    "action_delay_max": "longest time between two actions, seconds; the average is about a "
    "quarter of it",
    "logout_failure_prob": "share of logged-in visitors who leave without logging out, 0 to 1",
    "session_inactivity_grace": "how long a visitor who leaves without logout counts as active, "
    "seconds",
    "batch_size": "largest batch for one partition, bytes",
    "linger_ms": "how long a batch waits for more records, milliseconds",
    "kafka_acks": "replicas that must confirm an event before it counts as sent: all, 1 or 0",
}

UNLIMITED = -1  # --events
# Limits of --rate and --speed. One process sends a few ten thousand events per second.
MIN_FACTOR, MAX_FACTOR = 0.001, 100_000

FAULT_SHARES = {
    "--late": "share of the events that are sent later than they happen, 0 to 1 (default: 0)",
    "--duplicate": "share of the events that are sent again within a minute, 0 to 1 (default: 0)",
    "--malformed": "add invalid records of every kind; P per event, 0 to 1 (default: 0)",
}


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of producer.py."""
    made = argparse.ArgumentParser(
        usage="%(prog)s [OPTION ...]",  # a list of all of them would hide an error below it
        description=HELP_INTRODUCTION,
        epilog=HELP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_traffic(made.add_argument_group("traffic"))
    _add_time(made.add_argument_group("time"))
    _add_faults(made.add_argument_group("deliberate faults", "their numbers are reported"))
    _add_replay(made.add_argument_group("recorded events"))
    _add_settings(made.add_argument_group("settings", "each overrides the setting of that name"))
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="print the events, one per line, instead of sending them",
    )
    cli.add_version(made)
    cli.add_env_file(made)
    return made


def _add_traffic(group: Any) -> None:
    group.add_argument(
        "--profile", choices=("shop", "news"), default="shop", help="kind of site (default: shop)"
    )
    group.add_argument(
        "--events",
        type=_event_limit,
        metavar="N",
        help="stop after N events; -1: unlimited (default: the setting NUM_EVENTS, which is -1 "
        "unless it is set; with --replay: unlimited)",
    )
    group.add_argument(
        "--rate",
        type=_number(MIN_FACTOR, MAX_FACTOR),
        metavar="R",
        help="events per second; with --backfill the average per simulated second (default: the "
        "rate of TARGET_ACTIVE_USERS visitors)",
    )
    group.add_argument(
        "--users",
        type=_positive_integer,
        metavar="N",
        help="number of different visitors (default: 20 for each active one, at least 200)",
    )
    group.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="an integer: the same seed gives the same visits, and with --backfill and --until "
        "the same bytes (default: random)",
    )


def _add_time(group: Any) -> None:
    group.add_argument(
        "--backfill",
        type=_duration,
        metavar="LENGTH",
        help="simulate a past of this length, e.g. 7d, 36h, 90m, 45s (default: live traffic; with "
        "--until: 1d)",
    )
    group.add_argument(
        "--until",
        type=_time,
        metavar="TIME",
        help="end of the simulated past, ISO 8601, UTC if it has no zone (default: now)",
    )
    group.add_argument(
        "--speed",
        type=_number(MIN_FACTOR, MAX_FACTOR),
        metavar="X",
        help="with --backfill or --replay: send X seconds of timestamps per second (default: as "
        "fast as possible)",
    )


def _add_faults(group: Any) -> None:
    for name, text in FAULT_SHARES.items():
        group.add_argument(name, type=_number(0, 1), default=0.0, metavar="P", help=text)
    group.add_argument(
        "--max-lateness",
        type=_duration,
        default="90m",
        metavar="LENGTH",
        help="longest delay of a late event, e.g. 45s, 90m, 36h (default: 90m)",
    )
    group.add_argument(
        "--skew",
        type=_number(0, MAX_FACTOR),
        default=0.0,
        metavar="SECONDS",
        help="largest error of the visitors' clocks, ahead or behind, seconds (default: 0)",
    )
    group.add_argument(
        "--unkeyed",
        action="store_true",
        help="send records without a key, so that a visitor's events go to all partitions "
        "(default: the key is the visitor)",
    )
    group.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="write the sessions that the consumer must store, to compare them with: python "
        "summary.py --compare FILE (default: no file)",
    )


def _add_replay(group: Any) -> None:
    group.add_argument(
        "--replay",
        metavar="FILE",
        help="send the events of a file, or of standard input if FILE is -: JSON lines, one JSON "
        "array, CSV or TSV with a header, each also as gzip; a warning at the end names the events "
        "that a consumer will reject, and why",
    )
    group.add_argument(
        "--map",
        type=_checked(parse_field_names),
        metavar="FIELDS",
        help="with --replay: the file's names of the fields, like the setting EVENT_FIELDS, e.g. "
        "'user_id=visitorid; timestamp=time|ts'; events are then written with our names "
        "(default: send them as they are)",
    )
    group.add_argument(
        "--map-types",
        type=_checked(parse_event_types),
        metavar="TYPES",
        help="with --replay: the file's names of the event types, like the setting EVENT_TYPES, "
        "e.g. 'page_view=view; purchase=transaction' (default: send them as they are)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="with --replay: stop at an event that a consumer will reject, without sending it "
        "(default: send it as it is)",
    )


def _add_settings(group: Any) -> None:
    defaults = {item.name: item.metadata["default"] for item in setting_fields()}
    for name, meaning in SETTING_OPTIONS.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="X",
            help=f"{meaning} (default: {defaults[name]})",
        )


def _event_limit(text: str) -> int:
    return UNLIMITED if text == str(UNLIMITED) else _positive_integer(text)


def _positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
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


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser of a setting's text as the type of an option."""

    def parse_option(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_option


def _duration(text: str) -> int:
    return parse_duration(text) // MICROSECOND


def _time(text: str) -> int:
    return microseconds(parse_time(text))
