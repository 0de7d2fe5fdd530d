"""The actions of one visit to a shop or a news site, as an endless iterator.

A journey is consistent: a visitor buys only what is in the cart, at its price; scrolls and hovers
on the page that is open; buys after a login and does nothing after a logout.
The probabilities give a shop's events these proportions: page_view 35, click 20, scroll 15,
hover 8, add_to_cart 6, search 4, login 2.5, share 1, purchase 0.8. They hold within 8% with the
default settings, and within about a third for much longer or shorter visits.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Protocol
from urllib.parse import quote_plus

from clickstream.simulator.catalogue import BY_CATEGORY, BY_KIND, CATALOGUE, SITE, CatalogueItem
from clickstream.simulator.event_json import SECOND, Action

SHOP_CATEGORIES = tuple(BY_CATEGORY)

# One hundred landings: each referrer as often as it occurs, None for a direct visit.
REFERRERS = (
    *[None] * 34,
    *["https://www.google.com/"] * 36,
    *["https://www.bing.com/"] * 6,
    *["https://duckduckgo.com/"] * 4,
    *["https://www.facebook.com/"] * 8,
    *["https://www.instagram.com/"] * 7,
    *["https://newsletter.example.com/this-week"] * 5,
)

# Three hundred actions on a page of the shop: each type as often as it occurs.
ON_THE_PAGE = ("scroll",) * 152 + ("hover",) * 81 + ("click",) * 57 + ("share",) * 10
ELEMENTS = ("gallery", "details", "reviews", "menu")

# Number of lines of an order, limited by what is in the cart; the rest stays there.
ORDER_LINES = (1, 1, 2)

LOGIN_SUCCESS = 0.88
LOGIN_ATTEMPTS = 3


class Journey(Protocol):
    """One visit. logged_in: True if the visitor is logged in, so a logout can end the visit."""

    logged_in: bool

    def actions(self) -> Iterator[Action]:
        """Yield the visit's actions in order, without end."""

    def log_out(self) -> Action:
        """Return the logout, the last action of a visitor who is logged in."""


class _Login:
    """Login and logout, shared by the profiles. A login can fail and is then tried again."""

    __slots__ = ("_rng", "_url", "logged_in")

    def __init__(self, rng: Random) -> None:
        self.logged_in = False
        self._rng = rng
        self._url = SITE

    def log_out(self) -> Action:
        self.logged_in = False
        return Action("logout", {"page_url": self._url})

    def _log_in(self) -> Iterator[Action]:
        for _ in range(LOGIN_ATTEMPTS):
            # A logged-in visitor who is asked again always succeeds.
            self.logged_in = self.logged_in or self._rng.random() < LOGIN_SUCCESS
            yield Action("login", {"page_url": self._url, "success": self.logged_in})
            if self.logged_in:
                return


class ShopVisit(_Login):
    """A visit to the shop: landing page, searches, products, cart, checkout."""

    __slots__ = ("_cart", "_linked", "_product")

    MORE_ON_THE_PAGE = 0.48
    # On each page, also for visitors who are logged in: the shop asks for the password again.
    LOG_IN = 0.063
    SEARCH = 0.137
    ADD_TO_CART = 0.39
    # After each product that is put into the cart.
    CHECK_OUT = 0.275
    REMOVE_FROM_CART = 0.2
    LEAVE_THE_CART = 0.4
    CLICK_TO_NEXT_PAGE = 0.475

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._product: CatalogueItem | None = None
        self._linked: Sequence[CatalogueItem] = CATALOGUE
        self._cart: dict[CatalogueItem, int] = {}

    def actions(self) -> Iterator[Action]:
        yield self._land()
        while True:
            yield from self._look_around()
            yield from self._leave_page()

    def _land(self) -> Action:
        referrer = self._rng.choice(REFERRERS)
        landing = self._view_next(home=0.45, categories=0.2)
        if referrer:
            landing.fields["referrer"] = referrer
        return landing

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
        yield self._view(f"{SITE}/order/{order_id}")

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
        self._url = url
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


class NewsVisit(_Login):
    """A visit to the news site: login first, then articles, some liked, commented on or shared.

    now: when the visit begins. A new article appears every ten minutes; new ones are read most.
    """

    __slots__ = ("_newest",)

    SITE = "https://news.example.com"
    CATEGORIES = ("politics", "tech", "sports", "business", "culture", "science", "health")
    CATEGORY_WEIGHTS = (24, 18, 20, 13, 10, 8, 7)
    ARTICLE_EVERY = 600 * SECOND
    TYPICAL_AGE = 40  # articles
    OLDEST = 1_000  # articles
    FRONT_PAGE = 0.3
    REACTIONS = (("like", 0.3), ("comment", 0.08), ("share", 0.06))

    def __init__(self, rng: Random, now: int) -> None:
        super().__init__(rng)
        self._newest = now // self.ARTICLE_EVERY

    def actions(self) -> Iterator[Action]:
        self._url = f"{self.SITE}/login"
        while not self.logged_in:
            yield from self._log_in()
        yield self._front_page(self._rng.choice(REFERRERS))
        while True:
            yield from self._read()
            if self._rng.random() < self.FRONT_PAGE:
                yield self._front_page(None)

    def _front_page(self, referrer: str | None) -> Action:
        self._url = f"{self.SITE}/"
        fields = {"page_url": self._url}
        return Action("page_view", fields | {"referrer": referrer} if referrer else fields)

    def _read(self) -> Iterator[Action]:
        rng = self._rng
        article = self._newest - int(rng.expovariate(1 / self.TYPICAL_AGE)) % self.OLDEST
        # An article keeps its category: the article's number is the seed.
        category = Random(article).choices(self.CATEGORIES, self.CATEGORY_WEIGHTS)[0]
        self._url = f"{self.SITE}/{category}/{article}"
        fields = {
            "page_url": self._url,
            "article_id": f"a{article}",
            "article_category": category,
        }
        yield Action("page_view", fields)
        for kind, probability in self.REACTIONS:
            if rng.random() < probability:
                yield Action(kind, dict(fields))
