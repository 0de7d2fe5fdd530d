"""Visits begin, go on and end as the knobs say, in the time that the options ask for."""

from collections import Counter, defaultdict
from itertools import islice, pairwise
from typing import Any
from uuid import UUID

import pytest

from clickstream.sending.options import Options
from clickstream.sending.simulation import Simulation
from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, Event
from clickstream.simulator.seasonality import Rhythm
from tests.unit.simulated import START, by_visit, live

DAY = 86_400 * SECOND
UNTIL = START + 14 * DAY


def options(**given: object) -> Options:
    """What a command line without options gives, and these."""
    nothing = dict.fromkeys(("events", "rate", "seed", "users", "backfill", "until", "speed"))
    nothing |= {"replay": None, "truth": None, "profile": "shop", "max_lateness": 1}
    return Options(**{**dict.fromkeys(Options.__slots__, 0), **nothing, **given})  # type: ignore[arg-type]


def past(days: float, **given: object) -> list[Event]:
    asked = options(**{"backfill": int(days * DAY), "until": UNTIL, "seed": 3, **given})
    return list(Simulation(asked, Settings()).events(UNTIL))


# == The knobs ==================================================================================


def test_the_number_of_active_visitors_stays_constant() -> None:
    places = 40
    events = live(20_000, places=places)
    spans = [(visit[0].due, visit[-1].due) for visit in by_visit(events)]
    for moment in range(START + 60 * SECOND, events[-1].due - 1200 * SECOND, 97 * SECOND):
        active = sum(first <= moment <= last for first, last in spans)
        # Who left without logging out is still on a place, as is who thinks before leaving.
        assert 0.6 * places < active <= places


def test_visits_and_pauses_between_actions_keep_their_limits() -> None:
    knobs: dict[str, Any] = {
        "SESSION_DURATION_MIN": "20",
        "SESSION_DURATION_MAX": "120",
        "ACTION_DELAY_MIN": "2",
        "ACTION_DELAY_MAX": "7",
    }
    visits = by_visit(live(20_000, **knobs))
    lengths = [visit[-1].due - visit[0].due for visit in visits]
    assert max(lengths) <= 120 * SECOND
    assert max(lengths) > 100 * SECOND
    for visit in visits:
        for before, event in pairwise(visit):
            order = event.payload.get("order_id")
            if event.payload["event_type"] != "logout" and order != before.payload.get("order_id"):
                assert 2 * SECOND <= event.due - before.due <= 7 * SECOND + 1000
            assert event.due - before.due <= 7 * SECOND + 1000


@pytest.mark.parametrize(("probability", "all_log_out"), [("0", True), ("1", False)])
def test_the_share_of_failed_logouts(probability: str, all_log_out: bool) -> None:
    events = live(20_000, places=50, LOGOUT_FAILURE_PROB=probability)
    ended = [visit for visit in by_visit(events) if visit[-1].due < events[-1].due - 900 * SECOND]
    logged_in = [
        visit[-1].payload["event_type"] == "logout"
        for visit in ended
        if any(event.payload.get("success") for event in visit)
    ]
    assert len(logged_in) > 100
    assert set(logged_in) == {all_log_out}


def test_who_failed_to_log_out_keeps_the_place_for_the_grace() -> None:
    knobs: dict[str, Any] = {"LOGOUT_FAILURE_PROB": "1", "SESSION_INACTIVITY_GRACE": "500"}
    visits = by_visit(live(3_000, profile="news", places=1, **knobs))
    for visit, following in pairwise(visits):
        logged_in = any(event.payload.get("success") for event in visit)
        assert not logged_in or following[0].due - visit[-1].due >= 500 * SECOND


@pytest.mark.parametrize("timeout", [60, 1800, 7200])
def test_visitors_come_back_some_under_the_session_timeout_and_some_just_over(
    timeout: int,
) -> None:
    last: dict[str, Event] = {}
    pauses = []
    for event in live(60_000, places=30, SESSION_TIMEOUT_SECONDS=str(timeout)):
        before = last.get(event.payload["user_id"])
        if before and before.payload["visit_id"] != event.payload["visit_id"]:
            pauses.append((event.due - before.due) / SECOND)
        last[event.payload["user_id"]] = event
    assert sum(pause <= timeout for pause in pauses) > 20
    # Who left without logging out stays silent for a minute more.
    assert sum(timeout < pause <= 1.5 * timeout + 100 for pause in pauses) > 20


def test_nobody_is_on_two_visits_at_a_time() -> None:
    current: dict[str, str] = {}
    seen: set[str] = set()
    for event in live(30_000, places=100):
        user, visit = event.payload["user_id"], event.payload["visit_id"]
        if current.get(user) != visit:
            assert visit not in seen
            seen.add(visit)
            current[user] = visit


# == The time ===================================================================================


def test_a_rate_is_held_exactly() -> None:
    events = list(islice(Simulation(options(rate=10_000.0), Settings()).events(START), 2_000))
    assert [event.due for event in events] == [START + 100 * n for n in range(1, 2_001)]


def test_a_rate_asks_for_as_many_visitors_as_it_takes() -> None:
    asked = Simulation(options(rate=40.0, seed=1), Settings())
    visits = by_visit(list(islice(asked.events(START), 15_000)))
    gaps = [
        event.due - before.due
        for visit in visits
        for before, event in pairwise(visit)
        if event.payload["event_type"] not in ("logout", "purchase")
    ]
    assert sum(gaps) / len(gaps) == pytest.approx(8.25 * SECOND, rel=0.15)


@pytest.mark.parametrize("events", [1, 10, 1_000, 20_000])
@pytest.mark.parametrize("days", [1 / 24, 2])
def test_exactly_so_many_events_fill_the_past(events: int, days: float) -> None:
    found = past(days, events=events)
    assert len(found) == events
    assert found[0].due > UNTIL - days * DAY
    assert found[-1].due < UNTIL
    assert all(before.due < event.due for before, event in pairwise(found))
    if events == 20_000:
        assert found[-1].due > UNTIL - 0.01 * days * DAY
        assert found[0].due < UNTIL - 0.98 * days * DAY


def test_a_past_that_is_filled_goes_on_up_to_its_end() -> None:
    ends = [past(2, events=3_000, seed=seed)[-1].due for seed in range(8)]
    # One visitor on the site at a time is not even there always.
    assert sorted(UNTIL - end for end in ends)[-2] < 600 * SECOND


def test_the_past_is_busier_in_the_evening_than_at_night() -> None:
    hours = Counter(event.due // (3600 * SECOND) % 24 for event in past(7, events=20_000))
    assert hours[20] > 5 * hours[3]


def test_a_rate_of_the_past_is_its_average_as_the_hours_are_busy() -> None:
    found = past(0.5, rate=1.0)
    expected = Rhythm(UNTIL).between(UNTIL - DAY // 2, UNTIL) / SECOND
    assert len(found) == pytest.approx(expected, rel=0.15)
    assert found[-1].due < UNTIL


@pytest.mark.parametrize("given", [{}, {"rate": 2.0}, {"events": 500}])
def test_how_many_events_a_past_will_have_is_known_before(given: dict[str, Any]) -> None:
    asked = options(backfill=DAY // 4, until=UNTIL, seed=3, **given)
    simulation = Simulation(asked, Settings())
    expected = simulation.expected(UNTIL)
    assert expected == pytest.approx(len(list(simulation.events(UNTIL))), rel=0.15)


def test_live_traffic_has_no_end_but_the_one_asked_for() -> None:
    assert Simulation(options(rate=5.0), Settings()).expected(UNTIL) is None
    assert Simulation(options(rate=5.0, events=7), Settings()).expected(UNTIL) == 7


def test_a_past_that_ends_at_night_has_visitors_at_its_end() -> None:
    night = UNTIL + 4 * 3600 * SECOND
    asked = options(backfill=2 * DAY, until=night, seed=7, events=20_000)
    events = list(Simulation(asked, Settings()).events(night))
    recent = {event.payload["user_id"] for event in events if event.due > night - 1800 * SECOND}
    assert len(recent) > 2


def test_times_grow_and_ids_are_unique_and_carry_the_time() -> None:
    events = past(1, events=3_000)
    assert all(before.due < event.due for before, event in pairwise(events))
    ids = [UUID(event.payload["event_id"]) for event in events]
    assert len(set(ids)) == len(ids)
    for event, number in zip(events, ids, strict=True):
        assert (number.version, number.variant) == (7, "specified in RFC 4122")
        assert number.int >> 80 == event.time // 1000


def test_the_same_seed_and_until_give_the_same_bytes_and_another_seed_others() -> None:
    def values(seed: int) -> list[bytes]:
        asked = options(backfill=DAY, until=UNTIL, events=500, seed=seed)
        return [event.value for event in Simulation(asked, Settings()).events(START)]

    assert values(1) == values(1)
    assert not set(values(1)) & set(values(2))


def test_a_clock_is_wrong_by_the_same_for_all_events_of_a_visitor() -> None:
    errors = defaultdict(set)
    for event in past(1, events=3_000, skew=600.0):
        errors[event.payload["user_id"]].add(event.time - event.due)
    assert all(len(found) == 1 for found in errors.values())
    found = {min(error) for error in errors.values()}
    assert max(found) > 300 * SECOND
    assert min(found) < -300 * SECOND
    assert max(abs(error) for error in found) <= 600 * SECOND


def test_fewer_visitors_than_places_are_refused() -> None:
    with pytest.raises(Exception, match="raise --users"):
        Simulation(options(users=10), Settings())


def test_a_small_population_is_enough_for_a_past() -> None:
    found = past(1, events=2_000, users=3)
    assert len(found) == 2_000
    assert len({event.payload["user_id"] for event in found}) == 3
