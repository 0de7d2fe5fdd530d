"""Timestamps: every form that is read, rounding, and the range that is accepted."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.events import EPOCH, Event
from clickstream.model.reading import Reading
from tests.unit.parsing import (
    FAR_FUTURE,
    LATEST,
    MICROSECOND,
    event_with,
    properties,
    read,
    record,
    refusal,
    with_json,
)

ALL_TIMES = Reading(min_event_time=datetime.min.replace(tzinfo=UTC))
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(timestamp: Any) -> Event:
    """Return the event of a record with this timestamp, also if its time is not accepted."""
    return read(record({"timestamp": timestamp}), FAR_FUTURE, ALL_TIMES)


def at_json(text: str) -> Event:
    """Return the event of a record in which this JSON text is the timestamp."""
    return read(with_json("timestamp", text), FAR_FUTURE, ALL_TIMES)


# == ISO 8601 ===================================================================================


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-20T12:00:00.000000Z", "2026-11-20T12:00:00Z", "2026-11-20T12:00:00.0Z"),
        *("2026-11-20T12:00Z", "2026-11-20T12Z", "20261120T120000Z", "2026-W47-5T12:00:00Z"),
        *("2026-11-20t12:00:00z", "2026-11-20T12:00:00z", "2026-11-20 12:00:00z"),
        *("2026-11-20T14:00:00+02:00", "2026-11-20T06:30:00-05:30", "2026-11-20T14:00:00+02"),
        *("2026-11-20T14:00:00+0200", "2026-11-20 14:00:00 +0200", "2026-11-20 14:00:00 +02:00"),
        *("2026-11-20T12:00:00-00:00", "2026-11-21T11:59:00+23:59", "2026-11-20 12:00:00+00"),
        *("2026-11-20T12:00:00", "2026-11-20 12:00:00", "20261120T120000", "2026-11-20T12:00"),
        *("2026-11-20 12:00:00 UTC", "2026-11-20 12:00:00.000 UTC", "2026-11-20T12:00:00 utc"),
        *("2026-11-20 12:00:00 GMT", "2026-11-20T12:00:00UTC", "2026-11-20 12:00:00 +0000 UTC"),
        *(" 2026-11-20T12:00:00Z ", "2026-11-20 12:00:00 Z"),
    ],
)
def test_a_time_of_iso_8601_has_any_zone_or_none(text: str) -> None:
    event = at(text)
    assert event.event_time == NOON
    assert event.event_time.utcoffset() == timedelta(0)
    assert (event.repaired, event.properties) == (None, None)


@pytest.mark.parametrize("text", ["2026-11-20", "20261120", "2026-W47-5", "2026W475"])
def test_a_date_is_its_midnight_in_utc(text: str) -> None:
    assert at(text).event_time == datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Z", "z", "", "+00:00", " UTC", " +0000"])
@pytest.mark.parametrize("point", [".", ","])
def test_up_to_nine_fraction_digits_are_cut_to_six(zone: str, point: str) -> None:
    for digits, kept in (("1", 100_000), ("123456", 123_456), ("123456000", 123_456)):
        event = at(f"2026-11-20T12:00:00{point}{digits}{zone}")
        assert event.event_time == NOON + kept * MICROSECOND
        assert event.repaired is None
    for digits in ("1234567", "12345678", "123456789", "123456999"):
        text = f"2026-11-20T12:00:00{point}{digits}{zone}"
        assert at(text).event_time == NOON + 123_456 * MICROSECOND
        assert at(text).repaired == ("timestamp",)
        assert properties(at(text)) == {"timestamp": text}


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "now", "2026-02-30T00:00:00Z", "2026-13-01", "20261320", "24-05-01"),
        *("2026-11-20T24:01:00Z", "2026-11-20T12:60:00Z", "2026-11-20T12:00:00+24:00"),
        *("2026-11-20T12:00:00+01:00 UTC", "2026-11-20T12:00:00 CET", "UTC", "Z", "1e", "1_000"),
        *("Fri, 20 Nov 2026 12:00:00 GMT", "20/11/2026", "\u0661\u0667\u0661", "\0", "\ud83d"),
        "2026-11-20T12:00:00Z" * 10_000,
    ],
)
def test_a_text_that_is_no_time_rejects(text: str) -> None:
    error = refusal(record({"timestamp": text}))
    assert error.reason == "bad_timestamp"
    assert error.event is None


# == Numbers ====================================================================================


@pytest.mark.parametrize("form", ["{}", '"{}"', '" {} "'])
@pytest.mark.parametrize(
    ("number", "seconds"),
    [
        ("0", "0"),
        ("-1", "-1"),
        ("1714564800", "1714564800"),
        ("1714564800.123456", "1714564800.123456"),
        ("1.7145648e9", "1714564800"),
        ("-62135596800", "-62135596800"),
        ("99999999999", "99999999999"),
        ("100000000000", "100000000"),
        ("1795168800123", "1795168800.123"),
        ("1795168800123.456", "1795168800.123456"),
        ("99999999999999", "99999999999.999"),
        ("100000000000000", "100000000"),
        ("1795168800123456", "1795168800.123456"),
        ("99999999999999999", "99999999999.999999"),
        ("100000000000000000", "100000000"),
        ("1795168800123456000", "1795168800.123456"),
    ],
)
def test_a_number_is_seconds_milliseconds_microseconds_or_nanoseconds(
    form: str, number: str, seconds: str
) -> None:
    event = at_json(form.format(number))
    assert event.event_time == EPOCH + int(Decimal(seconds) * 10**6) * MICROSECOND
    assert (event.repaired, event.properties) == (None, None)


@pytest.mark.parametrize("form", ["{}", '"{}"'])
@pytest.mark.parametrize(
    ("number", "microseconds"),
    [
        ("0.0000005", 0),
        ("0.0000015", 2),
        ("1.0000025", 1_000_002),
        ("1714564800.9999995", 1_714_564_801_000_000),
        ("1714564800123.4565", 1_714_564_800_123_456),
        ("1714564800123.4575", 1_714_564_800_123_458),
    ],
)
def test_seconds_and_milliseconds_are_rounded_half_even(
    form: str, number: str, microseconds: int
) -> None:
    event = at_json(form.format(number))
    assert event.event_time == EPOCH + microseconds * MICROSECOND
    assert event.repaired is None


def test_digits_in_a_string_are_rounded_once() -> None:
    event = at("1714564800.12345649999999999999999999999999999999999999999")
    assert event.event_time.microsecond == 123_456


@pytest.mark.parametrize("form", ["{}", '"{}"'])
def test_nanoseconds_are_cut(form: str) -> None:
    event = at_json(form.format("1795168800123456999"))
    assert event.event_time == EPOCH + 1795168800123456 * MICROSECOND
    assert event.repaired == ("timestamp",)
    assert str(properties(event)["timestamp"]) == "1795168800123456999"


def test_eight_digits_in_a_string_are_a_date_and_a_number_is_seconds() -> None:
    assert at("20261120").event_time == datetime(2026, 11, 20, tzinfo=UTC)
    assert at(20261120).event_time == EPOCH + timedelta(seconds=20261120)
    assert at("2026112").event_time == EPOCH + timedelta(seconds=2026112)
    assert at("202611201").event_time == EPOCH + timedelta(seconds=202611201)


# Doubles tell microseconds apart up to 2^33 seconds: 272 years around 1970.
@given(st.integers(-(2**33) * 10**6, 1_714_564_800 * 10**6))
def test_seconds_with_six_digits_are_exact(microseconds: int) -> None:
    event = at_json(f"{Decimal(microseconds).scaleb(-6):f}")
    assert event.event_time == EPOCH + microseconds * MICROSECOND


# == The range ==================================================================================


def test_a_time_may_be_max_future_seconds_ahead_and_no_microsecond_more() -> None:
    assert event_with(timestamp=LATEST.isoformat()).event_time == LATEST
    error = refusal(record({"timestamp": (LATEST + MICROSECOND).isoformat()}))
    assert error.reason == "timestamp_out_of_range"
    assert error.detail == (
        "The timestamp 2026-12-01T13:00:00.000001+00:00 is more than MAX_FUTURE_SECONDS=3600 "
        "ahead of the consumer's clock."
    )


def test_a_time_may_be_min_event_time_and_no_microsecond_less() -> None:
    first = datetime(1990, 1, 1, tzinfo=UTC)
    assert event_with(timestamp=first.isoformat()).event_time == first
    error = refusal(record({"timestamp": (first - MICROSECOND).isoformat()}))
    assert error.reason == "timestamp_out_of_range"
    assert error.detail == (
        "The timestamp 1989-12-31T23:59:59.999999+00:00 is before "
        "MIN_EVENT_TIME=1990-01-01T00:00:00+00:00, as from a clock that was never set."
    )


def test_the_reason_says_that_a_time_without_zone_was_read_as_utc() -> None:
    hint = "It names no time zone and was read as UTC."
    for text in ("2026-12-01T14:00:00", "2026-12-02", "20261202"):
        assert refusal(record({"timestamp": text})).detail.endswith(hint)
    for other in ("2026-12-01T14:00:00Z", "2026-12-01 14:00 UTC", 1.8e9, "1800000000"):
        assert hint not in refusal(record({"timestamp": other})).detail


def test_the_error_of_an_event_out_of_range_holds_the_event() -> None:
    """An earlier version may have stored it."""
    for timestamp in (0, "1970-01-01", "2026-12-02T00:00:00Z"):
        error = refusal(record({"timestamp": timestamp, "page_url": "/"}))
        assert error.event == at(timestamp)._replace(page_url="/")


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        *((text, "MIN_EVENT_TIME=1990") for text in ("-1e300", "-1e400", '"-1e99"')),
        ('"0001-01-01T00:00:00+01:00"', "MIN_EVENT_TIME=1990"),
        *((text, "MAX_FUTURE_SECONDS=3600") for text in ("1e19", "1e300", "1e400", '"1e99"')),
        ('"9999-12-31T23:59:59-01:00"', "MAX_FUTURE_SECONDS=3600"),
        ('"' + "9" * 5_000 + '"', "MAX_FUTURE_SECONDS=3600"),
    ],
)
def test_a_time_outside_the_calendar_names_the_setting_too(text: str, setting: str) -> None:
    error = refusal(with_json("timestamp", text))
    assert error.reason == "timestamp_out_of_range"
    assert setting in error.detail


def test_a_clock_that_was_never_set_is_rejected_in_every_form() -> None:
    for timestamp in (0, 0.0, "0", "1970-01-01T00:00:00Z", 946, 315532800000):
        assert refusal(record({"timestamp": timestamp})).reason == "timestamp_out_of_range"
