"""Numbers, money, durations and ages as text; None is shown as a dash."""

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

from clickstream.durations import format_duration, format_time

NO_VALUE = "-"


def number(value: float | None) -> str:
    """Show a count, or a mean with one digit after the point."""
    if value is None:
        return NO_VALUE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def money(value: Decimal | None) -> str:
    """Show an amount, rounded to two digits after the point."""
    return NO_VALUE if value is None else f"{value:,.2f}"


def percent(value: float | None) -> str:
    """Show a fraction of 1 as a percentage."""
    return NO_VALUE if value is None else f"{100 * value:.1f}%"


def minutes(value: float | None) -> str:
    """Show a duration given in minutes, to the second."""
    return NO_VALUE if value is None else format_duration(timedelta(seconds=round(60 * value)))


def age(time: datetime | None, now: datetime, zone: tzinfo = UTC) -> str:
    """Show a time in a zone and how long ago it was, or how far it is ahead of `now`."""
    if time is None:
        return "never"
    passed = timedelta(seconds=round((now - time).total_seconds()))
    direction = "ahead" if passed.days < 0 else "ago"
    return f"{format_time(time, zone)}, {format_duration(passed)} {direction}"
