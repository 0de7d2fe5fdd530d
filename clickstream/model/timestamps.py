"""The time of an event, from ISO 8601 text or from a number since 1970."""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple

from clickstream.model.amounts import decimal_of_text
from clickstream.model.events import EPOCH, InvalidEventError
from clickstream.model.json_records import HugeNumber, SentNumber, kind_of
from clickstream.model.texts import shown

# Limits below which a number counts seconds, milliseconds and microseconds; from 10^17 on it counts
# nanoseconds. After each limit: the decimal place of the number that is a microsecond.
UNITS = ((10**11, 6), (10**14, 3), (10**17, 0))
NANOSECOND_PLACES = -3
# A number of more digits before the point is outside the years 1 to 9999 in every unit.
MAX_DIGITS = 21
_WIDE = Context(prec=40)

_is_compact_date = re.compile(r"[0-9]{8}").fullmatch
_has_lost_digits = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]").search
_match_zone_word = re.compile(r"(.*?)\s*(?:UTC|GMT|Z)").fullmatch
_match_offset = re.compile(r"(.*?)\s+([+-][0-9:]+)").fullmatch


class ReadTime(NamedTuple):
    """An event time in UTC.

    has_zone: the value named its time zone. is_cut: digits below the microsecond were lost.
    """

    time: datetime
    has_zone: bool = True
    is_cut: bool = False


class TimeLimits(NamedTuple):
    """The event times that are accepted: MIN_EVENT_TIME, and now plus MAX_FUTURE_SECONDS."""

    earliest: datetime
    latest: datetime
    max_future: timedelta

    def refusal(self, read: ReadTime) -> InvalidEventError | None:
        """Return the error for a time that is not accepted; None for one that is."""
        if self.earliest <= read.time <= self.latest:
            return None
        hint = "" if read.has_zone else " It names no time zone and was read as UTC."
        return self._refused(read.time.isoformat(), read.time > self.latest, hint)

    def outside_calendar(self, value: object, is_ahead: bool) -> InvalidEventError:
        """Return the error for a time outside the years 1 to 9999."""
        return self._refused(shown(value), is_ahead, " It is outside the years 1 to 9999.")

    def _refused(self, time: str, is_ahead: bool, hint: str) -> InvalidEventError:
        seconds = int(self.max_future.total_seconds())
        if is_ahead:
            limit = f"is more than MAX_FUTURE_SECONDS={seconds} ahead of the consumer's clock"
        else:
            earliest = self.earliest.isoformat()
            limit = f"is before MIN_EVENT_TIME={earliest}, as from a clock that was never set"
        return InvalidEventError(
            "timestamp_out_of_range",
            f"The timestamp {time} {limit}.{hint}",
            is_too_far_ahead=is_ahead,
        )


def read_time(value: Any, limits: TimeLimits) -> ReadTime:
    """Return the time of a timestamp, also if the limits do not accept it.

    limits: for error texts, and to choose between two ways of reading digits.
    Raises InvalidEventError if the value is not a time in the years 1 to 9999.
    """
    if type(value) is str:
        return _of_text(value.strip(), limits)
    if type(value) is HugeNumber:
        raise limits.outside_calendar(value, not value.text.startswith("-"))
    if type(value) is int or type(value) is SentNumber:
        number = Decimal(repr(value))
        read = _of_number(number)
        if read is None:
            raise limits.outside_calendar(number, number > 0)
        return read
    raise InvalidEventError(
        "wrong_type", f"The field timestamp is {kind_of(value)}, not a string or a number."
    )


def _of_text(text: str, limits: TimeLimits) -> ReadTime:
    number = None if _is_compact_date(text) else decimal_of_text(text)
    if number is None:
        return _of_iso(text, limits)
    read = _of_number(number)
    if read and not limits.refusal(read):
        return read
    read = _of_version_0_2(text, limits) or read
    if read is None:
        raise limits.outside_calendar(text, number > 0)
    return read


def _of_version_0_2(text: str, limits: TimeLimits) -> ReadTime | None:
    """Return the time of digits that version 0.2 read as a date and a time (2024050112000)."""
    try:
        read = _of_iso(text, limits)
    except InvalidEventError:
        return None
    return None if limits.refusal(read) else read


def _of_number(number: Decimal) -> ReadTime | None:
    """Return the time of a number since 1970; None if it is outside the years 1 to 9999."""
    if number.adjusted() >= MAX_DIGITS:
        return None
    places = next((places for limit, places in UNITS if number < limit), NANOSECOND_PLACES)
    is_cut = places == NANOSECOND_PLACES
    rounding = ROUND_FLOOR if is_cut else ROUND_HALF_EVEN
    rounded = number.quantize(Decimal(1).scaleb(-places), rounding, _WIDE)
    try:
        time = EPOCH + timedelta(microseconds=int(rounded.scaleb(places, _WIDE)))
    except OverflowError:
        return None
    return ReadTime(time, is_cut=is_cut and rounded != number)


def _of_iso(text: str, limits: TimeLimits) -> ReadTime:
    try:
        time = _iso_time(text)
    except ValueError:
        raise InvalidEventError(
            "bad_timestamp", f"The timestamp {shown(text)} is neither ISO 8601 nor a number."
        ) from None
    is_cut = _has_lost_digits(text) is not None
    if time.tzinfo is None:
        return ReadTime(time.replace(tzinfo=UTC), has_zone=False, is_cut=is_cut)
    try:
        return ReadTime(time.astimezone(UTC), is_cut=is_cut)
    except OverflowError:
        raise limits.outside_calendar(text, time.year > EPOCH.year) from None


def _iso_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _other_iso_time(text.upper())


def _other_iso_time(text: str) -> datetime:
    """Return the time of a text with a lower-case z, with UTC or GMT, or a blank before +01:00."""
    zone = _match_zone_word(text)
    body = zone[1] if zone else text
    if offset := _match_offset(body):
        body = offset[1] + offset[2]
    time = datetime.fromisoformat(body)
    if zone is None:
        return time
    if time.utcoffset():
        raise ValueError("two different zones")
    return time.replace(tzinfo=UTC)
