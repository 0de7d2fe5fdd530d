"""The weights of the hours: 1 on average, by hour and weekday; `after` inverts `between`."""

from datetime import UTC, datetime
from random import Random

import pytest

from clickstream.simulator.event_json import microseconds
from clickstream.simulator.seasonality import HOUR, WEEK, Seasonality

MONDAY = microseconds(datetime(2025, 11, 10, tzinfo=UTC))
# Its end is far away, so that the last hour has no effect.
USUAL = Seasonality(MONDAY + 100 * WEEK)


def weight(day: int, hour: int, seasonality: Seasonality = USUAL) -> float:
    start = MONDAY + (24 * day + hour) * HOUR
    return seasonality.between(start, start + HOUR) / HOUR


def test_the_average_weight_of_a_week_is_1() -> None:
    for start in (MONDAY, MONDAY + 5 * HOUR + 17):
        assert USUAL.between(start, start + WEEK) == pytest.approx(WEEK)


def test_evenings_weigh_more_than_nights_and_sundays_more_than_mondays() -> None:
    assert weight(0, 20) > 5 * weight(0, 3)
    assert weight(6, 20) > weight(0, 20)


def test_the_last_hour_has_at_least_the_average_weight() -> None:
    at_night, at_noon = Seasonality(MONDAY + 4 * HOUR), Seasonality(MONDAY + 13 * HOUR)
    assert weight(0, 3, at_night) == pytest.approx(1)
    assert weight(0, 2, at_night) == pytest.approx(weight(0, 2))
    assert weight(0, 12, at_noon) == pytest.approx(weight(0, 12))
    assert weight(0, 12) > 1


def test_after_is_the_inverse_of_between() -> None:
    rng = Random(1)
    for _ in range(300):
        start = MONDAY + rng.randrange(3 * WEEK)
        end = start + rng.randrange(1, 2 * WEEK)
        seasonality = Seasonality(end + rng.randrange(-2 * HOUR, 2 * HOUR))
        assert seasonality.after(start, seasonality.between(start, end)) == pytest.approx(
            end, abs=2
        )
