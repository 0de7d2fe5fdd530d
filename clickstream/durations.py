"""Lengths of time and moments, as people write and read them."""

import argparse
import re
from datetime import UTC, datetime, timedelta

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_length(text: str) -> timedelta:
    """A length of time such as 45s, 90m, 24h or 7d, of at least a second."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    seconds = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < seconds <= 1_000_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time like 45s, 90m, 24h or 7d")
    return timedelta(seconds=seconds)


def parse_since(text: str) -> timedelta | datetime:
    """A length of time back from now, or a moment in ISO 8601, read as UTC where it has no zone."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    try:
        return parse_length(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a length of time like 24h or 7d nor a time like "
            "2026-01-31T12:00:00Z"
        ) from None


def since_when(now: datetime, since: timedelta | datetime | None) -> datetime | None:
    """The moment that a length of time back from now, or a moment, means."""
    return now - since if isinstance(since, timedelta) else since


def show_length(length: timedelta) -> str:
    """A length of time in its two largest units: '42 min', '1 h 5 min', '3 d 2 h', '12.5 s'."""
    seconds = abs(length.total_seconds())
    if seconds < UNITS["m"]:
        return f"{seconds:.6f}".rstrip("0").rstrip(".") + " s"
    names = {"d": "d", "h": "h", "m": "min", "s": "s"}
    parts = []
    rest = int(seconds)
    for unit, name in names.items():
        number, rest = divmod(rest, UNITS[unit])
        parts.append((number, name))
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number} {name}" for number, name in parts[first : first + 2] if number)


def show_time(moment: datetime | None) -> str:
    """A moment in UTC to the second, with its zone."""
    if moment is None:
        return "never"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
