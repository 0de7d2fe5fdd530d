"""Price, quantity and engaged time, and the decimal text that they may be sent as."""

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from clickstream.model.events import MAX_ENGAGED_MS, MAX_QUANTITY, PRICE_LIMIT, PRICE_PLACES
from clickstream.model.json_records import SentNumber

SMALLEST_PRICE = Decimal(1).scaleb(-PRICE_PLACES)
# A price computed with doubles is wrong by less than this; rounding the error away is no repair.
FLOAT_NOISE = Decimal("0.000001")
DIGITS_BEFORE_THE_POINT = 10
_is_decimal = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?").fullmatch


def decimal_of_text(text: str) -> Decimal | None:
    """Return the number that a text of ASCII digits means; None for any other text."""
    if not _is_decimal(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of 19 digits or more
        return None


def decimal_of(value: Any) -> Decimal | None:
    """Return the number that was sent, also as text with blanks around it; None if it is none."""
    if type(value) is str:
        return decimal_of_text(value.strip())
    if type(value) is int:
        return Decimal(value)
    return Decimal(repr(value)) if type(value) is SentNumber else None


def read_price(value: Any) -> tuple[Decimal | None, bool]:
    """Return a price of at most four places, and True if it differs from what was sent."""
    price = decimal_of(value)
    if price is None:
        return None, True
    if not price:
        return Decimal(0), False
    if price.adjusted() >= DIGITS_BEFORE_THE_POINT:
        return None, True
    if int(price.as_tuple().exponent) >= -PRICE_PLACES:
        return price, False
    rounded = price.quantize(SMALLEST_PRICE, ROUND_HALF_EVEN)
    if abs(rounded) >= PRICE_LIMIT:
        return None, True
    return rounded, abs(price - rounded) >= FLOAT_NOISE


def read_quantity(value: Any) -> tuple[int | None, bool]:
    """Return a quantity, negative for a return, and True if what was sent cannot be read."""
    quantity = decimal_of(value)
    if quantity is None or abs(quantity) > MAX_QUANTITY or quantity != int(quantity):
        return None, True
    return int(quantity), False


def read_engaged_ms(value: Any) -> tuple[int | None, bool]:
    """Return whole milliseconds from 0 to a day, and True if they differ from what was sent.

    Browsers measure fractions of a millisecond: they are rounded half-even.
    """
    sent = decimal_of(value)
    if sent is None or not 0 <= sent <= MAX_ENGAGED_MS:
        return None, True
    rounded = int(sent.to_integral_value(ROUND_HALF_EVEN))
    return rounded, rounded != sent
