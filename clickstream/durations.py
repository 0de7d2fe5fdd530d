"""Durations and times as people write and read them on a command line or in a report."""

import argparse
import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
# A time this long before now is still in the years that datetime supports.
LONGEST = timedelta(days=100_000)
MICROSECOND = timedelta(microseconds=1)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as 45s, 90m, 1.5h or 7d, from one microsecond to LONGEST.

    Blanks around it are ignored. Raises ArgumentTypeError, so that it can be the type of an option.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])", text.strip())
    microseconds = int(Decimal(match[1]) * UNIT_SECONDS[match[2]] * 1_000_000) if match else 0
    if not 0 < microseconds <= LONGEST // MICROSECOND:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a duration such as 45s, 90m, 1.5h or 7d (at most {LONGEST.days}d)"
        )
    return microseconds * MICROSECOND


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 time, in UTC if it names no zone. Raises ArgumentTypeError."""
    try:
        time = datetime.fromisoformat(text.strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-01-31T12:00:00Z"
        ) from None


def parse_since(text: str) -> timedelta | datetime:
    """Read a duration that counts back from now, or an ISO 8601 time. Raises ArgumentTypeError."""
    for parse in (parse_duration, parse_time):
        try:
            return parse(text)
        except argparse.ArgumentTypeError:
            continue
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither a duration such as 1.5h or 7d nor a time such as 2026-01-31T12:00:00Z"
    )


def since_time(now: datetime, since: timedelta | datetime | None) -> datetime | None:
    """Return the time that --since means; None if the option was not given."""
    return now - since if isinstance(since, timedelta) else since


def format_duration(duration: timedelta) -> str:
    """Show a duration in its two largest units: '42 min', '1 h 5 min', '3 d 2 h', '12.5 s'.

    The sign is not shown.
    """
    seconds = abs(duration.total_seconds())
    if seconds < UNIT_SECONDS["m"]:
        return f"{seconds:.6f}".rstrip("0").rstrip(".") + " s"
    parts = []
    rest = int(seconds)
    for unit, name in (("d", "d"), ("h", "h"), ("m", "min"), ("s", "s")):
        number, rest = divmod(rest, UNIT_SECONDS[unit])
        parts.append((number, name))
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number} {name}" for number, name in parts[first : first + 2] if number)


def in_zone(time: datetime, zone: tzinfo) -> datetime:
    """Return a time in a zone; if its year there is not from 1 to 9999, its clock time as UTC."""
    try:
        return time.astimezone(zone)
    except OverflowError:
        return time.replace(tzinfo=UTC)


def wall_clock(time: datetime, zone: tzinfo) -> datetime:
    """Return the time that a clock in a zone shows, as if it were one of UTC."""
    return in_zone(time, zone).replace(tzinfo=UTC)


def format_time(time: datetime, zone: tzinfo = UTC) -> str:
    """Show a time in a zone to the second, with the zone's name."""
    return f"{in_zone(time, zone):%Y-%m-%d %H:%M:%S %Z}"


def format_minute(time: datetime, zone: tzinfo = UTC) -> str:
    """Show a time in a zone to the minute, without the zone's name."""
    return f"{in_zone(time, zone):%Y-%m-%d %H:%M}"
