"""How busy the hours are: one on average, by the calendar, and the same forwards and backwards."""

from datetime import UTC, datetime
from random import Random

import pytest

from clickstream.simulator.event_json import microseconds
from clickstream.simulator.seasonality import HOUR, WEEK, Rhythm

MONDAY = microseconds(datetime(2025, 11, 10, tzinfo=UTC))


USUAL = Rhythm(MONDAY + 100 * WEEK)


def busy(day: int, hour: int, rhythm: Rhythm = USUAL) -> float:
    start = MONDAY + (24 * day + hour) * HOUR
    return rhythm.between(start, start + HOUR) / HOUR


def test_a_week_has_the_length_of_a_week() -> None:
    for start in (MONDAY, MONDAY + 5 * HOUR + 17):
        assert USUAL.between(start, start + WEEK) == pytest.approx(WEEK)


def test_evenings_are_busier_than_nights_and_sundays_than_mondays() -> None:
    assert busy(0, 20) > 5 * busy(0, 3)
    assert busy(6, 20) > busy(0, 20)


def test_the_last_hour_is_never_a_quiet_one() -> None:
    at_night, at_noon = Rhythm(MONDAY + 4 * HOUR), Rhythm(MONDAY + 13 * HOUR)
    assert busy(0, 3, at_night) == pytest.approx(1)
    assert busy(0, 2, at_night) == pytest.approx(busy(0, 2))
    assert busy(0, 12, at_noon) == pytest.approx(busy(0, 12))
    assert busy(0, 12) > 1


def test_the_time_after_so_much_is_the_inverse_of_how_much_there_is_between() -> None:
    rng = Random(1)
    for _ in range(300):
        start = MONDAY + rng.randrange(3 * WEEK)
        end = start + rng.randrange(1, 2 * WEEK)
        rhythm = Rhythm(end + rng.randrange(-2 * HOUR, 2 * HOUR))
        assert rhythm.after(start, rhythm.between(start, end)) == pytest.approx(end, abs=2)
