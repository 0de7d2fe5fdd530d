"""Visits come from the documented sources, and bots behave as bots, in the documented shares."""

from collections import Counter, defaultdict
from itertools import pairwise
from math import sqrt
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from clickstream.simulator.event_json import SECOND, SimulatedEvent
from clickstream.simulator.identities import MEASURED_ENGAGEMENT, VISITORS_PER_BOT
from clickstream.simulator.schedule import BOT_PAGES
from clickstream.simulator.traffic_sources import (
    CLICK_NETWORKS,
    DIRECT,
    MIX_SIZE,
    NEWS_ARRIVALS,
    SHOP_ARRIVALS,
    Arrival,
)
from tests.unit.simulated import by_visit, identities, is_of_a_person, live, payloads

ARRIVALS = {"shop": SHOP_ARRIVALS, "news": NEWS_ARRIVALS}
# The default channel groups of Google Analytics 4.
CHANNELS = {
    *("Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video"),
    *("Display", "Organic Shopping", "Organic Social", "Organic Video", "Organic Search"),
    *(
        "AI Assistant",
        "Referral",
        "Email",
        "Affiliates",
        "Audio",
        "SMS",
        "Mobile Push Notifications",
    ),
    "Unassigned",
}


@pytest.fixture(scope="module", params=["shop", "news"])
def profile(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def visits(profile: str) -> list[list[SimulatedEvent]]:
    return by_visit(live(25_000, profile=profile))


@pytest.fixture(scope="module")
def visits_of_people(visits: list[list[SimulatedEvent]]) -> list[list[SimulatedEvent]]:
    return list(filter(is_of_a_person, visits))


def is_probable(number: int, share: float, of: int) -> bool:
    """Return True if a share of `of` random draws gives this number, within four deviations."""
    return abs(number - share * of) <= 4 * sqrt(of * share * (1 - share)) + 1


def parameters(event: SimulatedEvent) -> dict[str, str]:
    """Return the parameters in the address of an event's page."""
    query = parse_qs(urlsplit(event.payload["page_url"]).query)
    return {name: values[0] for name, values in query.items()}


def test_the_shares_add_up_and_cover_every_channel() -> None:
    for arrivals in ARRIVALS.values():
        assert sum(each.visits for each in arrivals) == MIX_SIZE
    assert {each.source.channel for each in SHOP_ARRIVALS} == CHANNELS


def test_each_source_occurs_in_its_share(
    profile: str, visits_of_people: list[list[SimulatedEvent]]
) -> None:
    expected = Counter[Any]()
    for each in ARRIVALS[profile]:
        expected[each.source] += each.visits
    found = Counter(visit[0].source for visit in visits_of_people)
    for source, number in expected.items():
        assert is_probable(found[source], number / MIX_SIZE, len(visits_of_people)), source
    assert set(found) <= set(expected)


def test_the_first_event_says_where_its_visit_comes_from(
    profile: str, visits_of_people: list[list[SimulatedEvent]]
) -> None:
    def sent(arrival: Arrival) -> tuple[Any, ...]:
        assert arrival.source.click_network == CLICK_NETWORKS.get(arrival.click_id or "")
        return arrival.source, arrival.referrer, arrival.click_id

    known = {sent(each) for each in ARRIVALS[profile]}
    for first, *_ in visits_of_people:
        given = parameters(first)
        clicks = [name for name in given if not name.startswith("utm_")]
        assert len(clicks) <= 1
        click_id = clicks[0] if clicks else None
        assert (first.source, first.payload.get("referrer"), click_id) in known
        if "utm_source" in given:
            names = ("source", "medium", "campaign", "term", "content")
            for name in names:
                assert given.get(f"utm_{name}") == getattr(first.source, name)


def test_a_later_event_on_the_landing_page_keeps_the_source_of_its_address(
    visits_of_people: list[list[SimulatedEvent]],
) -> None:
    kept = 0
    for first, *later in visits_of_people:
        tagged = parameters(first)
        has_tags = first.source.click_network is not None or "utm_source" in tagged
        for event in later:
            if "referrer" in event.payload:
                assert event.source.source == "paypal.com"
            elif has_tags and event.payload["page_url"] == first.payload["page_url"]:
                assert event.source.channel == first.source.channel
                kept += 1
            else:
                assert event.source == DIRECT
    assert kept > 20


def test_visitors_return_from_other_sources_with_the_same_id(
    visits_of_people: list[list[SimulatedEvent]],
) -> None:
    channels = defaultdict(set)
    for visit in visits_of_people:
        channels[visit[0].key].add(visit[0].source.channel)
    assert sum(len(found) > 1 for found in channels.values()) > 50


def test_bots_open_many_pages_quickly_and_do_nothing_else(
    visits: list[list[SimulatedEvent]],
) -> None:
    bots = [visit for visit in visits if not is_of_a_person(visit)]
    assert len(bots) > 5
    for visit in bots:
        for before, event in pairwise(visit):
            assert event.due - before.due < 2 * SECOND
        for fields in payloads(visit):
            assert fields["event_type"] == "page_view"
            assert not {"referrer", "engaged_ms"} & set(fields)
    complete = [len(visit) for visit in bots if visit[-1].due < visits[-1][0].due]
    assert all(BOT_PAGES[0] / 2 < pages < BOT_PAGES[1] * 2 for pages in complete)


def test_one_of_many_visitors_is_a_bot_and_always_the_same() -> None:
    numbers = range(10_000)
    bots = [number for number in numbers if identities().visitor(number).is_bot]
    assert is_probable(len(bots), 1 / VISITORS_PER_BOT, len(numbers))
    agents = {identities().visitor(number).usual_device.user_agent for number in bots}
    assert len(agents) > 3


def test_the_engaged_time_is_sent_for_a_known_share_of_the_people(
    visits_of_people: list[list[SimulatedEvent]],
) -> None:
    long = [visit for visit in visits_of_people if len(visit) > 1]
    measured = [visit for visit in long if "engaged_ms" in visit[1].payload]
    assert len(measured) / len(long) == pytest.approx(MEASURED_ENGAGEMENT, abs=0.05)
    for visit in measured:
        assert "engaged_ms" not in visit[0].payload
        for before, event in pairwise(visit):
            assert 0 <= event.payload["engaged_ms"] <= (event.due - before.due) / 1_000


def test_two_devices_of_one_person_log_in_to_the_same_account(
    visits_of_people: list[list[SimulatedEvent]],
) -> None:
    visitors = defaultdict(set)
    for visit in visits_of_people:
        for fields in payloads(visit):
            assert ("account_id" in fields) == bool(fields.get("success"))
            if "account_id" in fields:
                visitors[fields["account_id"]].add(fields["user_id"])
    shared = [ids for ids in visitors.values() if len(ids) > 1]
    assert len(shared) > 5
    assert all(len(ids) <= 2 for ids in shared)
