"""The products of the simulated shop. They are the same in every run."""

from dataclasses import dataclass
from random import Random

SITE = "https://shop.example.com"

# Category, kinds of product, lowest and highest price in cents.
CATEGORY_PRICES = (
    ("electronics", ("headphones", "keyboard", "webcam", "charger", "speaker"), 1_900, 24_900),
    ("books", ("novel", "cookbook", "atlas", "biography", "thriller"), 700, 4_500),
    ("clothing", ("jacket", "shirt", "jeans", "sneakers", "scarf"), 1_200, 15_900),
    ("home", ("lamp", "cushion", "kettle", "blanket", "mirror"), 900, 12_900),
    ("sports", ("racket", "backpack", "tent", "bottle", "helmet"), 1_100, 21_900),
    ("toys", ("puzzle", "board game", "train set", "kite", "plush bear"), 600, 7_900),
    ("beauty", ("soap", "perfume", "hand cream", "hairbrush", "lipstick"), 500, 8_900),
    ("garden", ("rake", "flower pot", "garden hose", "bird house", "gloves"), 600, 9_900),
)
PRODUCT_VARIANTS = ("classic", "compact", "deluxe", "light", "original", "pro")


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """One product of the shop. price: in cents."""

    product_id: str
    kind: str
    variant: str
    category: str
    price: int

    @property
    def page_url(self) -> str:
        """The URL of the product's page."""
        return f"{SITE}/product/{self.product_id}"


def _catalogue() -> tuple[CatalogueItem, ...]:
    rng = Random("catalogue")
    items: list[CatalogueItem] = []
    for category, kinds, low, high in CATEGORY_PRICES:
        for kind in kinds:
            for variant in PRODUCT_VARIANTS:
                # Prices end in 99 cents.
                price = rng.randrange(low, high) // 100 * 100 + 99
                product_id = f"p{len(items) + 1:04d}"
                items.append(CatalogueItem(product_id, kind, variant, category, price))
    return tuple(items)


CATALOGUE = _catalogue()
BY_CATEGORY = {
    category: tuple(item for item in CATALOGUE if item.category == category)
    for category, _, _, _ in CATEGORY_PRICES
}
BY_KIND = {
    kind: tuple(item for item in CATALOGUE if item.kind == kind)
    for _, kinds, _, _ in CATEGORY_PRICES
    for kind in kinds
}
