"""What the simulated shop sells. The catalogue is the same in every run."""

from dataclasses import dataclass
from random import Random

SITE = "https://shop.example.com"

# Category, kinds of product, lowest and highest price in cents.
CATEGORIES = (
    ("electronics", ("headphones", "keyboard", "webcam", "charger", "speaker"), 1_900, 24_900),
    ("books", ("novel", "cookbook", "atlas", "biography", "thriller"), 700, 4_500),
    ("clothing", ("jacket", "shirt", "jeans", "sneakers", "scarf"), 1_200, 15_900),
    ("home", ("lamp", "cushion", "kettle", "blanket", "mirror"), 900, 12_900),
    ("sports", ("racket", "backpack", "tent", "bottle", "helmet"), 1_100, 21_900),
    ("toys", ("puzzle", "board game", "train set", "kite", "plush bear"), 600, 7_900),
    ("beauty", ("soap", "perfume", "hand cream", "hairbrush", "lipstick"), 500, 8_900),
    ("garden", ("rake", "flower pot", "garden hose", "bird house", "gloves"), 600, 9_900),
)
VARIANTS = ("classic", "compact", "deluxe", "light", "original", "pro")


@dataclass(frozen=True, slots=True)
class Product:
    """Something to buy. price: in cents."""

    product_id: str
    kind: str
    variant: str
    category: str
    price: int

    @property
    def page_url(self) -> str:
        """The product's page."""
        return f"{SITE}/product/{self.product_id}"


def _stock() -> tuple[Product, ...]:
    rng = Random("catalogue")
    products: list[Product] = []
    for category, kinds, low, high in CATEGORIES:
        for kind in kinds:
            for variant in VARIANTS:
                # Prices end in 99 cents.
                price = rng.randrange(low, high) // 100 * 100 + 99
                number = f"p{len(products) + 1:04d}"
                products.append(Product(number, kind, variant, category, price))
    return tuple(products)


PRODUCTS = _stock()
BY_CATEGORY = {
    category: tuple(product for product in PRODUCTS if product.category == category)
    for category, _, _, _ in CATEGORIES
}
BY_KIND = {
    kind: tuple(product for product in PRODUCTS if product.kind == kind)
    for _, kinds, _, _ in CATEGORIES
    for kind in kinds
}
