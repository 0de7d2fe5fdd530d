"""Figures as people read them."""

from datetime import datetime, timedelta
from decimal import Decimal

from clickstream.durations import format_duration, format_time

NOTHING = "-"


def number(value: float | None) -> str:
    """A count, or a mean with one digit after the point."""
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def money(value: Decimal | None) -> str:
    """An amount in the currency of the events, rounded to two digits after the point."""
    return NOTHING if value is None else f"{value:,.2f}"


def percent(value: float | None) -> str:
    """A fraction of 1."""
    return NOTHING if value is None else f"{100 * value:.1f}%"


def minutes(value: float | None) -> str:
    """A duration in minutes, to the second."""
    return NOTHING if value is None else format_duration(timedelta(seconds=round(60 * value)))


def age(moment: datetime | None, now: datetime) -> str:
    """A moment, and how long ago it was."""
    if moment is None:
        return "never"
    passed = timedelta(seconds=round((now - moment).total_seconds()))
    return (
        f"{format_time(moment)}, {format_duration(passed)} {'ahead' if passed.days < 0 else 'ago'}"
    )
