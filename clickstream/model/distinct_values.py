"""The distinct values of a session: the smallest ones are shown, and all are counted.

Shown are the SHOWN_VALUES smallest values by code point, and of these as many as fit into
SHOWN_BYTES: the values in order, up to the first that would make the array too large. The size is
that of the array as JSON in UTF-8 without blanks, as orjson and PostgreSQL's array_to_json write
it. storage/session_rule.sql states the same.

The result depends only on the set of values, not on the order in which they are added.
"""

from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b

import orjson

# At most this many values are shown, in at most this many bytes of JSON.
SHOWN_VALUES = 1_000
SHOWN_BYTES = 256 * 1024
# The number of distinct values is exact up to here, and not counted further.
COUNTED_VALUES = 10_000
# At most this many values are kept as a tuple, which takes a fifth of a set's memory.
MAX_TUPLE_VALUES = 32
DIGEST_BYTES = 16


class ManyValues:
    """Distinct values in bounded memory: those that can be shown, and digests to count the others.

    values: different from each other.
    is_stored: True if the values that are stored are still those that are shown; set by the code
    that stores them.
    """

    __slots__ = ("_characters", "_digests", "_largest", "_values", "is_stored")

    def __init__(self, values: Collection[str]) -> None:
        self.is_stored = False
        # All values until the first pruning; then those up to _largest, as no larger one is shown.
        self._values = set(values)
        self._characters = sum(map(len, values))
        self._largest: str | None = None
        # The digests of all values, from the first pruning on.
        self._digests: set[bytes] | None = None

    def __len__(self) -> int:
        return len(self._values if self._digests is None else self._digests)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def add(self, value: str) -> None:
        """Add a value, which may be there already."""
        if value in self._values:
            return
        if self._digests is not None and len(self._digests) < COUNTED_VALUES:
            self._digests.add(_digest(value))
        if self._largest is None or value < self._largest:
            self.is_stored = False
            self._values.add(value)
            self._characters += len(value)
            if len(self._values) >= 2 * SHOWN_VALUES or self._characters >= 2 * SHOWN_BYTES:
                self._prune()

    def _prune(self) -> None:
        if self._digests is None:
            self._digests = set(map(_digest, self._values))
        kept = shown_and_next(self._values)
        self._values = set(kept)
        self._characters = sum(map(len, kept))
        self._largest = kept[-1]


DistinctValues = tuple[str, ...] | ManyValues


def distinct(values: Iterable[str]) -> DistinctValues:
    """Return the distinct ones of these values."""
    result: DistinctValues = ()
    for value in values:
        result = with_value(result, value)
    return result


def with_value(values: DistinctValues, value: str) -> DistinctValues:
    """Return the values and one more, which may be among them already."""
    if isinstance(values, tuple):
        if value in values:
            return values
        if len(values) < MAX_TUPLE_VALUES:
            return (*values, value)
        values = ManyValues(values)
    values.add(value)
    return values


def same_text(values: DistinctValues, value: str) -> str:
    """Return the text in memory that is equal to a value, if that is found fast."""
    return values[values.index(value)] if isinstance(values, tuple) else value


def count(values: DistinctValues) -> int:
    """Return the number of distinct values, at most COUNTED_VALUES."""
    return min(len(values), COUNTED_VALUES)


def shown(values: Iterable[str]) -> list[str]:
    """Return those of the values that are shown, in order. values: without duplicates."""
    ordered = sorted(values)
    return ordered[: _number_shown(ordered)]


def shown_and_next(values: Iterable[str]) -> list[str]:
    """Return those of the values that are shown and the next one, in order.

    Values above the next one are never shown, whatever is added. Without it, the bytes that it
    does not fit into would be free for a shorter and larger value.
    """
    ordered = sorted(values)
    return ordered[: _number_shown(ordered) + 1]


def _number_shown(ordered: list[str]) -> int:
    first = ordered[:SHOWN_VALUES]
    if len(orjson.dumps(first)) <= SHOWN_BYTES:
        return len(first)
    size = len("[]") - len(",")
    for number, value in enumerate(first):
        size += len(orjson.dumps(value)) + len(",")
        if size > SHOWN_BYTES:
            return number
    return len(first)


def _digest(value: str) -> bytes:
    return blake2b(value.encode(), digest_size=DIGEST_BYTES).digest()
