"""Every option that takes a duration reads it in the same way; durations and times are shown."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import summary
from clickstream.durations import (
    LONGEST,
    MICROSECOND,
    format_duration,
    format_time,
    parse_duration,
    parse_since,
    parse_time,
)
from clickstream.sending import options
from clickstream.settings import Settings

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
LATE_ENOUGH = datetime(9000, 1, 1, tzinfo=UTC)  # every --backfill ends after 1970


def summary_option(name: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        arguments = summary.build_parser().parse_args([f"--{name}={text}"])
        return vars(arguments)[name.replace("-", "_")]

    return read


def producer_option(name: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        arguments, _ = options.read_options([f"--{name}={text}"], LATE_ENOUGH)
        microseconds: int = getattr(arguments, name.replace("-", "_"))
        return microseconds * MICROSECOND

    return read


DURATION_OPTIONS = [
    summary_option("since"),
    summary_option("what-if-timeout"),
    producer_option("backfill"),
    producer_option("max-lateness"),
]
DURATION_LIKE = st.from_regex(
    r"[ \t]?[0-9]{0,7}([.,][0-9]{0,7})?[ ]?[smhdwS]?[ \n]?", fullmatch=True
)


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.__slots__:
        monkeypatch.delenv(name.upper(), raising=False)


def accepted(read: Callable[[str], object], text: str) -> object:
    """Return the value of an option, or None if the option refuses the text."""
    try:
        return read(text)
    except SystemExit:
        return None


@given(DURATION_LIKE)
@example("1.5h")
@example(" 1.5h ")
@example("0.000001s")
@example("100000d")
@example("100000.000001d")
@example("\u0661h")
def test_a_duration_that_one_option_accepts_each_accepts_as_the_same(text: str) -> None:
    read = [accepted(option, text) for option in DURATION_OPTIONS]
    assert read == [read[0]] * len(DURATION_OPTIONS)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("45s", timedelta(seconds=45)),
        ("90m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        (" 24h\n", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("0.000001s", MICROSECOND),
        ("0.1s", timedelta(milliseconds=100)),
        ("100000d", LONGEST),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert parse_since(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "0s", "0.0d", "10", "m", "-5m", "1.h", ".5h", "1 h", "5w", "100001d", "\u0661\u0660m"],
)
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration such as 45s"):
        parse_duration(text)


@given(st.timedeltas(min_value=MICROSECOND, max_value=timedelta(days=10_000)))
def test_a_duration_in_seconds_is_read_exactly(duration: timedelta) -> None:
    seconds, microseconds = divmod(duration, timedelta(seconds=1))
    assert parse_duration(f"{seconds}.{microseconds // MICROSECOND:06d}s") == duration


def test_a_time_without_a_zone_is_utc() -> None:
    assert parse_since("2025-06-02T12:00:00") == NOON
    assert parse_since(" 2025-06-02T14:00:00+02:00 ") == NOON
    assert parse_since("2025-06-02") == NOON.replace(hour=0)
    assert parse_time("2025-06-02T12:00:00") == NOON


@pytest.mark.parametrize("text", ["yesterday", "0001-01-01T00:00:00+05:00", "2025-13-01", ""])
def test_other_text_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="neither a duration"):
        parse_since(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time such as"):
        parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.000001, "0.000001 s"),
        (59.5, "59.5 s"),
        (60, "1 min"),
        (2_550, "42 min 30 s"),
        (3_600, "1 h"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == shown


def test_a_time_is_shown_in_utc() -> None:
    assert format_time(datetime.fromisoformat("2025-06-02T14:00:00.9+02:00")) == (
        "2025-06-02 12:00:00 UTC"
    )
