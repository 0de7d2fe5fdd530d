"""Visits begin, continue and end as the settings say."""

from itertools import pairwise
from typing import Any

import pytest

from clickstream.simulator.event_json import SECOND, SimulatedEvent
from tests.unit.simulated import START, by_visit, live


def test_the_number_of_active_visitors_stays_constant() -> None:
    active_visitors = 40
    events = live(20_000, active_visitors=active_visitors)
    spans = [(visit[0].due, visit[-1].due) for visit in by_visit(events)]
    for moment in range(START + 60 * SECOND, events[-1].due - 1200 * SECOND, 97 * SECOND):
        active = sum(first <= moment <= last for first, last in spans)
        # Fewer: a visitor who leaves without logout counts as active after the last event.
        assert 0.6 * active_visitors < active <= active_visitors


def test_visits_and_delays_between_actions_stay_within_the_settings() -> None:
    settings: dict[str, Any] = {
        "SESSION_DURATION_MIN": "20",
        "SESSION_DURATION_MAX": "120",
        "ACTION_DELAY_MIN": "2",
        "ACTION_DELAY_MAX": "7",
    }
    visits = by_visit(live(20_000, **settings))
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
def test_logouts_fail_as_often_as_the_setting_says(probability: str, all_log_out: bool) -> None:
    events = live(20_000, active_visitors=50, LOGOUT_FAILURE_PROB=probability)
    ended = [visit for visit in by_visit(events) if visit[-1].due < events[-1].due - 900 * SECOND]
    logged_in = [
        visit[-1].payload["event_type"] == "logout"
        for visit in ended
        if any(event.payload.get("success") for event in visit)
    ]
    assert len(logged_in) > 100
    assert set(logged_in) == {all_log_out}


def test_a_visitor_who_leaves_without_logout_counts_as_active_for_the_grace() -> None:
    settings: dict[str, Any] = {"LOGOUT_FAILURE_PROB": "1", "SESSION_INACTIVITY_GRACE": "500"}
    visits = by_visit(live(3_000, profile="news", active_visitors=1, **settings))
    for visit, following in pairwise(visits):
        logged_in = any(event.payload.get("success") for event in visit)
        assert not logged_in or following[0].due - visit[-1].due >= 500 * SECOND


@pytest.mark.parametrize("timeout", [60, 1800, 7200])
def test_some_visitors_return_below_the_session_timeout_and_some_just_above(
    timeout: int,
) -> None:
    last: dict[str, SimulatedEvent] = {}
    pauses = []
    for event in live(60_000, active_visitors=30, SESSION_TIMEOUT_SECONDS=str(timeout)):
        before = last.get(event.payload["user_id"])
        if before and before.payload["visit_id"] != event.payload["visit_id"]:
            pauses.append((event.due - before.due) / SECOND)
        last[event.payload["user_id"]] = event
    assert sum(pause <= timeout for pause in pauses) > 20
    # A visitor who leaves without logout counts as active for a minute longer.
    assert sum(timeout < pause <= 1.5 * timeout + 100 for pause in pauses) > 20


def test_no_visitor_is_on_two_visits_at_a_time() -> None:
    current: dict[str, str] = {}
    seen: set[str] = set()
    for event in live(30_000, active_visitors=100):
        user, visit = event.payload["user_id"], event.payload["visit_id"]
        if current.get(user) != visit:
            assert visit not in seen
            seen.add(visit)
            current[user] = visit
