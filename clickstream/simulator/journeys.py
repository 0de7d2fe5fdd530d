"""The actions of one visit to a shop or a news site, as an endless iterator.

People and bots behave differently: a bot opens page after page, and does nothing else.

A journey is consistent: a visitor buys only what is in the cart, at its price; scrolls and hovers
on the page that is open; buys after a login and does nothing after a logout.
The probabilities give a shop's events these proportions: page_view 35, click 20, scroll 15,
hover 8, add_to_cart 6, search 4, login 2.5, share 1, purchase 0.8. They hold within 8% with the
default settings, and within about a third for much longer or shorter visits.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Any, Protocol
from urllib.parse import quote_plus

from clickstream.simulator.catalogue import BY_CATEGORY, BY_KIND, CATALOGUE, SITE, CatalogueItem
from clickstream.simulator.event_json import SECOND, Action
from clickstream.simulator.identities import SimulatedVisitor
from clickstream.simulator.traffic_sources import (
    DIRECT,
    NEWS_MIX,
    NEWS_SITE,
    PAYMENT_PAGE,
    SHOP_MIX,
    Arrival,
    TrafficSource,
)

SHOP_CATEGORIES = tuple(BY_CATEGORY)

# Three hundred actions on a page of the shop: each type as often as it occurs.
ON_THE_PAGE = ("scroll",) * 152 + ("hover",) * 81 + ("click",) * 57 + ("share",) * 10
ELEMENTS = ("gallery", "details", "reviews", "menu")

# Number of lines of an order, limited by what is in the cart; the rest stays there.
ORDER_LINES = (1, 1, 2)

LOGIN_SUCCESS = 0.88
LOGIN_ATTEMPTS = 3


class Journey(Protocol):
    """One visit.

    logged_in: True if the visitor is logged in, so a logout can end the visit. page_source: the
    source of a session that begins on the open page, with an action that has no referrer.
    """

    logged_in: bool
    page_source: TrafficSource

    def actions(self) -> Iterator[Action]:
        """Yield the visit's actions in order, without end."""

    def log_out(self) -> Action:
        """Return the logout, the last action of a visitor who is logged in."""


class _SiteVisit:
    """Arrival, login and logout, shared by the profiles.

    A login can fail and is then tried again. account_id: the account that it opens.
    """

    __slots__ = ("_account_id", "_rng", "_url", "logged_in", "page_source")

    def __init__(self, rng: Random, account_id: str) -> None:
        self.logged_in = False
        self.page_source = DIRECT
        self._rng = rng
        self._account_id = account_id
        self._url = SITE

    def _open(self, url: str) -> None:
        """Open another page of the site. No referrer is sent within the site."""
        self._url = url
        self.page_source = DIRECT

    def _arrive(self, landing: Action, arrival: Arrival) -> Action:
        """Return an action that opens a page, with the referrer and the query of its source."""
        if query := arrival.query(self._rng):
            self._url = landing.fields["page_url"] = f"{self._url}?{query}"
        if arrival.referrer:
            landing.fields["referrer"] = arrival.referrer
        self.page_source = arrival.later_source
        return landing._replace(source=arrival.source)

    def log_out(self) -> Action:
        self.logged_in = False
        return Action("logout", {"page_url": self._url})

    def _log_in(self) -> Iterator[Action]:
        for _ in range(LOGIN_ATTEMPTS):
            # A logged-in visitor who is asked again always succeeds.
            self.logged_in = self.logged_in or self._rng.random() < LOGIN_SUCCESS
            fields: dict[str, Any] = {"page_url": self._url, "success": self.logged_in}
            if self.logged_in:
                yield Action("login", fields | {"account_id": self._account_id})
                return
            yield Action("login", fields)


class ShopVisit(_SiteVisit):
    """A visit to the shop: landing page, searches, products, cart, checkout."""

    __slots__ = ("_cart", "_linked", "_product")

    MORE_ON_THE_PAGE = 0.497
    # On each page, also for logged-in visitors: the shop asks for the password again.
    LOG_IN = 0.066
    SEARCH = 0.144
    ADD_TO_CART = 0.415
    # After each product that is put into the cart.
    CHECK_OUT = 0.274
    REMOVE_FROM_CART = 0.2
    LEAVE_THE_CART = 0.4
    CLICK_TO_NEXT_PAGE = 0.5
    # Share of the orders that are paid on another site, from which the visitor comes back.
    PAID_ELSEWHERE = 0.4

    def __init__(self, rng: Random, account_id: str) -> None:
        super().__init__(rng, account_id)
        self._product: CatalogueItem | None = None
        self._linked: Sequence[CatalogueItem] = CATALOGUE
        self._cart: dict[CatalogueItem, int] = {}

    def actions(self) -> Iterator[Action]:
        landing = self._view_next(home=0.45, categories=0.2)
        yield self._arrive(landing, self._rng.choice(SHOP_MIX))
        while True:
            yield from self._look_around()
            yield from self._leave_page()

    def _look_around(self) -> Iterator[Action]:
        rng = self._rng
        while rng.random() < self.MORE_ON_THE_PAGE:
            kind = rng.choice(ON_THE_PAGE)
            action = self._here(kind)
            if kind == "scroll":
                action.fields["scroll_depth"] = 25 * rng.randint(1, 4)
            elif kind != "share":
                action.fields["element_id"] = rng.choice(ELEMENTS)
            yield action
        if self._product and rng.random() < self.ADD_TO_CART:
            yield self._add_to_cart(self._product)
            if rng.random() < self.CHECK_OUT:
                yield from self._check_out()

    def _leave_page(self) -> Iterator[Action]:
        rng = self._rng
        if rng.random() < self.LOG_IN:
            yield from self._log_in()
        elif rng.random() < self.SEARCH:
            yield from self._search()
        else:
            if rng.random() < self.CLICK_TO_NEXT_PAGE:
                yield self._click("link")
            yield self._view_next(home=0.07, categories=0.35)

    def _search(self) -> Iterator[Action]:
        wanted = self._rng.choice(CATALOGUE)
        query = wanted.kind if self._rng.random() < 0.7 else f"{wanted.variant} {wanted.kind}"
        yield Action("search", {"page_url": self._url, "search_query": query})
        yield self._view(f"{SITE}/search?q={quote_plus(query)}", BY_KIND[wanted.kind])

    def _add_to_cart(self, product: CatalogueItem) -> Action:
        quantity = self._rng.choices((1, 2, 3), (85, 12, 3))[0]
        self._cart[product] = self._cart.get(product, 0) + quantity
        return self._here("add_to_cart", _price(product, quantity))

    def _check_out(self) -> Iterator[Action]:
        rng = self._rng
        yield self._click("cart")
        yield self._view(f"{SITE}/cart")
        wanted = rng.sample(list(self._cart), min(len(self._cart), rng.choice(ORDER_LINES)))
        for product in tuple(wanted):
            if rng.random() < self.REMOVE_FROM_CART:
                wanted.remove(product)
                yield self._line("remove_from_cart", product, self._cart.pop(product))
        if not wanted or rng.random() < self.LEAVE_THE_CART:
            return
        yield self._click("checkout")
        yield self._view(f"{SITE}/checkout")
        if not self.logged_in:
            yield from self._log_in()
        if self.logged_in:
            yield from self._buy(wanted)

    def _buy(self, products: Sequence[CatalogueItem]) -> Iterator[Action]:
        order_id = f"o{self._rng.getrandbits(48):012x}"
        for number, product in enumerate(products, start=1):
            purchase = self._line("purchase", product, self._cart.pop(product))
            purchase.fields["order_id"] = order_id
            yield purchase._replace(continued=number < len(products))
        confirmation = self._view(f"{SITE}/order/{order_id}")
        paid_elsewhere = self._rng.random() < self.PAID_ELSEWHERE
        yield self._arrive(confirmation, PAYMENT_PAGE) if paid_elsewhere else confirmation

    def _view_next(self, *, home: float, categories: float) -> Action:
        chance = self._rng.random()
        if chance < home:
            return self._view(f"{SITE}/")
        if chance < home + categories:
            category = self._rng.choice(SHOP_CATEGORIES)
            return self._view(f"{SITE}/category/{category}", BY_CATEGORY[category])
        product = self._rng.choice(self._linked)
        return self._view(product.page_url, BY_CATEGORY[product.category], product)

    def _view(
        self,
        url: str,
        linked: Sequence[CatalogueItem] = CATALOGUE,
        product: CatalogueItem | None = None,
    ) -> Action:
        """Open a page. linked: the products that it links to. product: the one it shows."""
        self._open(url)
        self._linked = linked
        self._product = product
        return self._here("page_view")

    def _click(self, element: str) -> Action:
        return self._here("click", {"element_id": element})

    def _here(self, event_type: str, fields: dict[str, Any] | None = None) -> Action:
        """Return an action on the page that is open."""
        product = self._product
        if product is None:
            return Action(event_type, {"page_url": self._url, **(fields or {})})
        return Action(
            event_type,
            {
                "page_url": self._url,
                "product_id": product.product_id,
                "product_category": product.category,
                **(fields or {}),
            },
        )

    def _line(self, event_type: str, product: CatalogueItem, quantity: int) -> Action:
        """Return an action on one line of the cart."""
        return Action(
            event_type,
            {
                "page_url": self._url,
                "product_id": product.product_id,
                "product_category": product.category,
                **_price(product, quantity),
            },
        )


def _price(product: CatalogueItem, quantity: int) -> dict[str, Any]:
    return {"price": product.price / 100, "quantity": quantity}


class ShopCrawl(ShopVisit):
    """A bot in the shop: the pages of all products, one after the other."""

    __slots__ = ()

    def actions(self) -> Iterator[Action]:
        yield self._view(f"{SITE}/")
        for number in count(self._rng.randrange(len(CATALOGUE))):
            product = CATALOGUE[number % len(CATALOGUE)]
            yield self._view(product.page_url, product=product)


class NewsVisit(_SiteVisit):
    """A visit to the news site: login first, then articles, some liked, commented on or shared.

    now: when the visit begins. A new article appears every ten minutes; new ones are read most.
    """

    __slots__ = ("_newest",)

    CATEGORIES = ("politics", "tech", "sports", "business", "culture", "science", "health")
    CATEGORY_WEIGHTS = (24, 18, 20, 13, 10, 8, 7)
    ARTICLE_EVERY = 600 * SECOND
    TYPICAL_AGE = 40  # articles
    OLDEST = 1_000  # articles
    FRONT_PAGE = 0.3
    REACTIONS = (("like", 0.3), ("comment", 0.08), ("share", 0.06))

    def __init__(self, rng: Random, account_id: str, now: int) -> None:
        super().__init__(rng, account_id)
        self._newest = now // self.ARTICLE_EVERY

    def actions(self) -> Iterator[Action]:
        self._open(f"{NEWS_SITE}/login")
        attempts = self._log_in()
        yield self._arrive(next(attempts), self._rng.choice(NEWS_MIX))
        yield from attempts
        while not self.logged_in:
            yield from self._log_in()
        yield self._front_page()
        while True:
            yield from self._read()
            if self._rng.random() < self.FRONT_PAGE:
                yield self._front_page()

    def _front_page(self) -> Action:
        self._open(f"{NEWS_SITE}/")
        return Action("page_view", {"page_url": self._url})

    def _read(self) -> Iterator[Action]:
        rng = self._rng
        age = int(rng.expovariate(1 / self.TYPICAL_AGE)) % self.OLDEST
        view = self._article(self._newest - age)
        yield view
        for kind, probability in self.REACTIONS:
            if rng.random() < probability:
                yield Action(kind, dict(view.fields))

    def _article(self, number: int) -> Action:
        # An article keeps its category: the article's number is the seed.
        category = Random(number).choices(self.CATEGORIES, self.CATEGORY_WEIGHTS)[0]
        self._open(f"{NEWS_SITE}/{category}/{number}")
        return Action(
            "page_view",
            {
                "page_url": self._url,
                "article_id": f"a{number}",
                "article_category": category,
            },
        )


class NewsCrawl(NewsVisit):
    """A bot on the news site: the front page, then the articles from the newest on."""

    __slots__ = ()

    def actions(self) -> Iterator[Action]:
        yield self._front_page()
        for age in count():
            yield self._article(self._newest - age)


def begin_journey(profile: str, visitor: SimulatedVisitor, rng: Random, now: int) -> Journey:
    """Return a visit of this visitor. profile: "shop" or "news". now: when it begins."""
    if profile == "shop":
        return (ShopCrawl if visitor.is_bot else ShopVisit)(rng, visitor.account_id)
    return (NewsCrawl if visitor.is_bot else NewsVisit)(rng, visitor.account_id, now)
