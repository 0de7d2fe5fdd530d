"""Visits are consistent, and the events of a shop come in the documented proportions."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest

from clickstream.simulator import journeys
from clickstream.simulator.catalogue import CATALOGUE
from clickstream.simulator.event_json import SimulatedEvent
from clickstream.simulator.journeys import ShopVisit
from clickstream.simulator.traffic_sources import PAYMENT_PAGE
from tests.unit.simulated import by_visit, is_of_a_person, live, payloads

PROPORTIONS = {
    "page_view": 35,
    "click": 20,
    "scroll": 15,
    "hover": 8,
    "add_to_cart": 6,
    "search": 4,
    "login": 2.5,
    "share": 1,
    "purchase": 0.8,
}
TOLERANCE = 0.08  # of each number; the rare types vary by this much in EVENTS events
EVENTS = 100_000
IDENTITY = ("user_id", "user_agent", "ip_address", "device_type", "country", "city")


@pytest.fixture(scope="module")
def shop() -> list[SimulatedEvent]:
    return live(EVENTS)


@pytest.fixture(scope="module")
def news() -> list[SimulatedEvent]:
    return live(30_000, profile="news")


@pytest.fixture(scope="module")
def visits(shop: list[SimulatedEvent]) -> list[list[dict[str, Any]]]:
    """Return the fields of the events of each visit to the shop."""
    return [payloads(visit) for visit in by_visit(shop)]


def proportions(counts: Counter[str]) -> dict[str, float]:
    """Return how often each type occurs, on the scale of PROPORTIONS."""
    unit = sum(counts[kind] for kind in PROPORTIONS) / sum(PROPORTIONS.values())
    return {kind: counts[kind] / unit for kind in PROPORTIONS}


def test_shop_events_come_in_the_documented_proportions(shop: list[SimulatedEvent]) -> None:
    counts = Counter(event.payload["event_type"] for event in shop)
    assert proportions(counts) == pytest.approx(PROPORTIONS, rel=TOLERANCE)
    assert set(counts) == {*PROPORTIONS, "remove_from_cart", "logout"}
    assert 0.005 < (counts["remove_from_cart"] + counts["logout"]) / len(shop) < 0.04


@pytest.mark.parametrize("longest_delay", ["5", "60"])
def test_the_proportions_hold_roughly_with_more_and_fewer_actions_per_visit(
    longest_delay: str,
) -> None:
    events = live(EVENTS, ACTION_DELAY_MAX=longest_delay)
    counts = Counter(event.payload["event_type"] for event in events)
    assert proportions(counts) == pytest.approx(PROPORTIONS, rel=0.35)


def test_only_products_in_the_cart_are_bought_or_removed(
    visits: list[list[dict[str, Any]]],
) -> None:
    prices = {product.product_id: product.price for product in CATALOGUE}
    for visit in visits:
        cart: Counter[str] = Counter()
        for step in visit:
            kind, product = step["event_type"], step.get("product_id", "")
            if kind == "add_to_cart":
                cart[product] += step["quantity"]
            elif kind in ("purchase", "remove_from_cart"):
                assert cart.pop(product) == step["quantity"]
            if "price" in step:
                assert round(step["price"] * 100) == prices[product]


def test_an_order_is_one_event_per_line_with_a_common_id(
    visits: list[list[dict[str, Any]]],
) -> None:
    orders = defaultdict(list)
    for visit in visits:
        for step in visit:
            assert ("order_id" in step) == (step["event_type"] == "purchase")
            if "order_id" in step:
                orders[step["order_id"]].append(step)
    assert any(len(lines) > 1 for lines in orders.values())
    for lines in orders.values():
        assert len({line["visit_id"] for line in lines}) == 1
        assert len({line["product_id"] for line in lines}) == len(lines)


def test_nobody_buys_or_logs_out_before_logging_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journeys, "LOGIN_SUCCESS", 0.2)
    done = Counter[str]()
    for visit in by_visit(live(30_000)):
        logged_in = False
        for step in payloads(visit):
            done[step["event_type"]] += 1
            if step["event_type"] == "login":
                logged_in = step["success"]
            if step["event_type"] in ("purchase", "logout"):
                assert logged_in
    assert done["purchase"] > 20


@pytest.mark.parametrize("profile", ["shop", "news"])
def test_nothing_follows_a_logout(profile: str, request: pytest.FixtureRequest) -> None:
    found = [payloads(visit) for visit in by_visit(request.getfixturevalue(profile))]
    assert any(visit[-1]["event_type"] == "logout" for visit in found)
    for visit in found:
        assert all(step["event_type"] != "logout" for step in visit[:-1])


def test_actions_happen_on_the_page_that_is_open(
    visits: list[list[dict[str, Any]]],
) -> None:
    for visit in visits:
        assert visit[0]["event_type"] == "page_view"
        for before, step in pairwise(visit):
            if step["event_type"] != "page_view":
                assert step["page_url"] == before["page_url"]


def test_a_search_leads_to_its_results(visits: list[list[dict[str, Any]]]) -> None:
    for visit in visits:
        for step, then in pairwise(visit):
            if step["event_type"] == "search" and then["event_type"] == "page_view":
                assert "/search?q=" in then["page_url"]


def test_only_the_first_page_and_the_page_after_a_payment_have_a_referrer(
    visits: list[list[dict[str, Any]]],
) -> None:
    assert any("referrer" in visit[0] for visit in visits)
    later = [step for visit in visits for step in visit[1:] if "referrer" in step]
    assert {step["referrer"] for step in later} == {PAYMENT_PAGE.referrer}
    confirmations = [
        step
        for visit in visits
        for step in visit
        if "/order/" in step["page_url"]
        if step["event_type"] == "page_view"
    ]
    assert all("/order/" in step["page_url"] for step in later)
    share = len(later) / len(confirmations)
    assert share == pytest.approx(ShopVisit.PAID_ELSEWHERE, abs=0.07)


@pytest.mark.parametrize("profile", ["shop", "news"])
def test_a_visit_keeps_its_browser_address_and_device(
    profile: str, request: pytest.FixtureRequest
) -> None:
    for visit in by_visit(request.getfixturevalue(profile)):
        for name in IDENTITY:
            assert len({step[name] for step in payloads(visit)}) == 1


def test_visitors_return_from_the_same_town_and_network_mostly_with_the_same_device(
    visits: list[list[dict[str, Any]]],
) -> None:
    homes = defaultdict(set)
    devices = defaultdict(list)
    for visit in visits:
        first = visit[0]
        network = first["ip_address"].rpartition(".")[0]
        homes[first["user_id"]].add((first["country"], first["city"], first["locale"], network))
        devices[first["user_id"]].append((first["user_agent"], first["viewport_size"]))
    assert all(len(home) == 1 for home in homes.values())
    often = [used for used in devices.values() if len(used) >= 4]
    assert len(often) > 20
    usual = sum(max(map(used.count, used)) for used in often)
    assert 0.8 < usual / sum(map(len, often)) < 1


def test_news_begins_with_a_login(news: list[SimulatedEvent]) -> None:
    counts = Counter(event.payload["event_type"] for event in news)
    assert set(counts) == {"login", "page_view", "like", "comment", "share", "logout"}
    for visit in filter(is_of_a_person, by_visit(news)):
        kinds = [step["event_type"] for step in payloads(visit)]
        assert kinds[0] == "login"
        assert "login" not in kinds[kinds.count("login") :]


def test_new_articles_are_read_more_than_old_ones(news: list[SimulatedEvent]) -> None:
    read = Counter(
        int(event.payload["article_id"][1:])
        for event in news
        if event.payload["event_type"] == "page_view" and "article_id" in event.payload
    )
    assert max(read.values()) > 10
    middle = (max(read) + min(read)) // 2
    new = sum(times for article, times in read.items() if article > middle)
    assert new > 2 * (read.total() - new)


def test_an_article_keeps_its_category(news: list[SimulatedEvent]) -> None:
    categories = defaultdict(set)
    for event in news:
        if "article_id" in event.payload:
            categories[event.payload["article_id"]].add(event.payload["article_category"])
    assert {"politics", "tech", "sports"} <= set.union(*categories.values())
    assert all(len(found) == 1 for found in categories.values())
