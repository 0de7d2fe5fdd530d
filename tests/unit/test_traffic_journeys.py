"""Visits are walks that keep their own logic, in the proportions that the shop promises."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest

from clickstream.settings import Settings
from clickstream.traffic.catalogue import PRODUCTS
from clickstream.traffic.events import SECOND, Event
from clickstream.traffic.identities import Identities
from clickstream.traffic.schedule import AsScheduled, Places, Population, Schedule

START = 1_760_000_000 * SECOND
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
TOLERANCE = 0.12  # of the stated proportion: the rare ones vary by this much in so many events
EVENTS = 100_000


@pytest.fixture(scope="session")
def identities() -> Identities:
    return Identities()


def traffic(identities: Identities, profile: str, events: int, seed: int = 1) -> Iterator[Event]:
    rng = Random(seed)
    people = Population(identities, 4_000, rng)
    arrivals = Places(200, 8 * SECOND, rng)
    schedule = Schedule(Settings(), profile, people, arrivals, AsScheduled(), rng)
    return islice(schedule.events(START), events)


@pytest.fixture(scope="module")
def shop(identities: Identities) -> list[dict[str, Any]]:
    return [event.payload for event in traffic(identities, "shop", EVENTS)]


def by_visit(payloads: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    visits = defaultdict(list)
    for payload in payloads:
        visits[payload["visit_id"]].append(payload)
    return list(visits.values())


def test_shop_events_come_in_the_promised_proportions(shop: list[dict[str, Any]]) -> None:
    counts = Counter(payload["event_type"] for payload in shop)
    unit = sum(counts[kind] for kind in PROPORTIONS) / sum(PROPORTIONS.values())
    found = {kind: counts[kind] / unit for kind in PROPORTIONS}
    assert found == pytest.approx(PROPORTIONS, rel=TOLERANCE)
    assert set(counts) == {*PROPORTIONS, "remove_from_cart", "logout"}
    assert (counts["remove_from_cart"] + counts["logout"]) / len(shop) < 0.04


def test_only_what_is_in_the_cart_is_bought_or_removed(shop: list[dict[str, Any]]) -> None:
    prices = {product.product_id: product.price for product in PRODUCTS}
    for visit in by_visit(shop):
        cart: Counter[str] = Counter()
        for step in visit:
            kind, product = step["event_type"], step.get("product_id")
            if kind == "add_to_cart":
                cart[product] += step["quantity"]
            elif kind in ("purchase", "remove_from_cart"):
                assert cart.pop(product) == step["quantity"]
            if "price" in step:
                assert round(step["price"] * 100) == prices[product]


def test_an_order_is_one_event_per_line_with_a_common_id(shop: list[dict[str, Any]]) -> None:
    orders = defaultdict(list)
    for payload in shop:
        if payload["event_type"] == "purchase":
            orders[payload["order_id"]].append(payload)
    assert any(len(lines) > 1 for lines in orders.values())
    for lines in orders.values():
        assert len({line["visit_id"] for line in lines}) == 1
        assert len({line["product_id"] for line in lines}) == len(lines)
    assert all("order_id" not in payload for payload in shop if payload["event_type"] != "purchase")


def test_nobody_buys_or_logs_out_before_logging_in(shop: list[dict[str, Any]]) -> None:
    for visit in by_visit(shop):
        logged_in = False
        for step in visit:
            if step["event_type"] == "login":
                logged_in = step["success"]
            if step["event_type"] in ("purchase", "logout"):
                assert logged_in


@pytest.mark.parametrize("profile", ["shop", "news"])
def test_nothing_follows_a_logout(identities: Identities, profile: str) -> None:
    payloads = [event.payload for event in traffic(identities, profile, 20_000)]
    visits = by_visit(payloads)
    assert any(visit[-1]["event_type"] == "logout" for visit in visits)
    for visit in visits:
        assert all(step["event_type"] != "logout" for step in visit[:-1])


def test_what_happens_on_a_page_happens_on_the_page_that_is_open(
    shop: list[dict[str, Any]],
) -> None:
    for visit in by_visit(shop):
        assert visit[0]["event_type"] == "page_view"
        for before, step in pairwise(visit):
            if step["event_type"] != "page_view":
                assert step["page_url"] == before["page_url"]


@pytest.mark.parametrize("profile", ["shop", "news"])
def test_a_visit_keeps_its_browser_address_and_device(identities: Identities, profile: str) -> None:
    payloads = [event.payload for event in traffic(identities, profile, 20_000)]
    for visit in by_visit(payloads):
        for field in ("user_id", "user_agent", "ip_address", "device_type", "country", "city"):
            assert len({step[field] for step in visit}) == 1


def test_visitors_come_back_with_the_same_country_and_network(
    shop: list[dict[str, Any]],
) -> None:
    visits = defaultdict(set)
    homes = defaultdict(set)
    for payload in shop:
        network = payload["ip_address"].rpartition(".")[0]
        visits[payload["user_id"]].add(payload["visit_id"])
        homes[payload["user_id"]].add((payload["country"], payload["city"], network))
    assert max(len(ids) for ids in visits.values()) > 2
    assert all(len(home) == 1 for home in homes.values())


def test_news_begins_with_a_login_and_reads_new_articles_most(identities: Identities) -> None:
    payloads = [event.payload for event in traffic(identities, "news", 40_000)]
    counts = Counter(payload["event_type"] for payload in payloads)
    assert set(counts) == {"login", "page_view", "like", "comment", "share", "logout"}
    for visit in by_visit(payloads):
        assert visit[0]["event_type"] == "login"
        kinds = [step["event_type"] for step in visit]
        assert "login" not in kinds[kinds.count("login") :]
    read = Counter(
        int(payload["article_id"][1:])
        for payload in payloads
        if payload["event_type"] == "page_view" and "article_id" in payload
    )
    newest, oldest = max(read), min(read)
    middle = (newest + oldest) // 2
    new = sum(times for article, times in read.items() if article > middle)
    assert new > 2 * sum(times for article, times in read.items() if article <= middle)
    categories = defaultdict(set)
    for payload in payloads:
        if "article_id" in payload:
            categories[payload["article_id"]].add(payload["article_category"])
    assert all(len(found) == 1 for found in categories.values())
