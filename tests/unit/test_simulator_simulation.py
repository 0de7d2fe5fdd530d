"""A simulation makes the events that a description of traffic asks for, at the right times."""

from collections import Counter, defaultdict
from itertools import islice, pairwise
from typing import Any
from uuid import UUID

import pytest

from clickstream.errors import UsageError
from clickstream.simulator.event_json import SECOND
from clickstream.simulator.seasonality import Seasonality
from tests.unit.simulated import DAY, START, UNTIL, by_visit, past, simulation


def test_live_events_have_exactly_the_given_rate() -> None:
    events = list(islice(simulation(rate=10_000.0).events(START), 2_000))
    assert [event.due for event in events] == [START + 100 * n for n in range(1, 2_001)]


def test_the_number_of_active_visitors_follows_from_the_rate() -> None:
    events = simulation(rate=40.0, seed=1).events(START)
    visits = by_visit(list(islice(events, 15_000)))
    gaps = [
        event.due - before.due
        for visit in visits
        for before, event in pairwise(visit)
        if event.payload["event_type"] not in ("logout", "purchase")
    ]
    assert sum(gaps) / len(gaps) == pytest.approx(8.25 * SECOND, rel=0.15)


@pytest.mark.parametrize("events", [1, 10, 1_000, 20_000])
@pytest.mark.parametrize("days", [1 / 24, 2])
def test_a_past_has_exactly_the_given_number_of_events(events: int, days: float) -> None:
    found = past(days, events=events)
    assert len(found) == events
    assert found[0].due > UNTIL - days * DAY
    assert found[-1].due < UNTIL
    assert all(before.due < event.due for before, event in pairwise(found))
    if events == 20_000:
        assert found[-1].due > UNTIL - 0.01 * days * DAY
        assert found[0].due < UNTIL - 0.98 * days * DAY


def test_a_past_with_a_given_number_of_events_lasts_until_its_end() -> None:
    # With this many events there is always a visitor.
    ends = [past(2, events=20_000, seed=seed)[-1].due for seed in range(5)]
    assert max(UNTIL - end for end in ends) < 600 * SECOND


def test_a_past_has_more_events_in_the_evening_than_at_night() -> None:
    hours = Counter(event.due // (3600 * SECOND) % 24 for event in past(7, events=20_000))
    assert hours[20] > 5 * hours[3]


def test_a_rate_is_the_average_of_a_past_weighted_by_seasonality() -> None:
    found = past(0.5, rate=1.0)
    expected = Seasonality(UNTIL).between(UNTIL - DAY // 2, UNTIL) / SECOND
    assert len(found) == pytest.approx(expected, rel=0.15)
    assert found[-1].due < UNTIL


@pytest.mark.parametrize(("hours", "given"), [(1, {}), (6, {"rate": 2.0}), (6, {"events": 500})])
def test_the_expected_number_of_events_of_a_past_is_about_right(
    hours: int, given: dict[str, Any]
) -> None:
    simulated = simulation(backfill=hours * DAY // 24, until=UNTIL, seed=3, **given)
    expected = simulated.expected(UNTIL)
    assert expected == pytest.approx(len(list(simulated.events(UNTIL))), rel=0.15)


def test_live_traffic_is_unlimited_unless_a_number_of_events_is_given() -> None:
    assert simulation(rate=5.0).expected(UNTIL) is None
    assert simulation(rate=5.0, events=7).expected(UNTIL) == 7


def test_a_past_that_ends_at_night_has_visitors_at_its_end() -> None:
    night = UNTIL + 4 * 3600 * SECOND
    events = past(2, until=night, seed=7, events=20_000)
    recent = {event.payload["user_id"] for event in events if event.due > night - 1800 * SECOND}
    assert len(recent) > 2


def test_times_increase_and_ids_are_unique_and_contain_the_time() -> None:
    events = past(1, events=3_000)
    assert all(before.due < event.due for before, event in pairwise(events))
    ids = [UUID(event.payload["event_id"]) for event in events]
    assert len(set(ids)) == len(ids)
    for event, number in zip(events, ids, strict=True):
        assert (number.version, number.variant) == (7, "specified in RFC 4122")
        assert number.int >> 80 == event.time // 1000


def test_the_same_seed_and_until_give_the_same_bytes_and_another_seed_different_ones() -> None:
    def values(seed: int) -> list[bytes]:
        return [event.value for event in past(1, events=500, seed=seed)]

    assert values(1) == values(1)
    assert not set(values(1)) & set(values(2))


def test_all_events_of_a_visitor_have_the_same_clock_error() -> None:
    errors = defaultdict(set)
    for event in past(1, events=3_000, skew=600 * SECOND):
        errors[event.payload["user_id"]].add(event.time - event.due)
    assert all(len(found) == 1 for found in errors.values())
    found = {min(error) for error in errors.values()}
    assert max(found) > 300 * SECOND
    assert min(found) < -300 * SECOND
    assert max(abs(error) for error in found) <= 600 * SECOND


def test_a_population_below_the_number_of_active_visitors_is_refused() -> None:
    with pytest.raises(UsageError, match="raise --users"):
        simulation(population=10)


def test_a_small_population_is_enough_for_a_past() -> None:
    found = past(1, events=2_000, population=3)
    assert len(found) == 2_000
    assert len({event.payload["user_id"] for event in found}) == 3
