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
    """

    __slots__ = ("_characters", "_digests", "_largest", "_values")

    def __init__(self, values: Collection[str]) -> None:
        # All values until the first pruning; then those up to _largest, as no larger one is shown.
        self._values = set(values)
        self._characters = sum(map(len, values))
        self._largest: str | None = None
        # The digests of all values, from the first pruning on.
        self._digests: set[bytes] | None = None

    def __len__(self) -> int:
        """Return the number of distinct values, at most COUNTED_VALUES."""
        return min(len(self._values if self._digests is None else self._digests), COUNTED_VALUES)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, value: object) -> bool:
        """Return True if a value is among those that can be shown."""
        return value in self._values

    def add(self, value: str) -> bool:
        """Add a value; see `with_new_value`. Return True if it can be shown."""
        if self._digests is not None and len(self._digests) < COUNTED_VALUES:
            self._digests.add(_digest(value))
        if self._largest is not None and value > self._largest:
            return False
        self._values.add(value)
        self._characters += len(value)
        if len(self._values) >= 2 * SHOWN_VALUES or self._characters >= 2 * SHOWN_BYTES:
            self._prune()
        return True

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
        if value not in result:
            result, _ = with_new_value(result, value)
    return result


def with_new_value(values: DistinctValues, value: str) -> tuple[DistinctValues, bool]:
    """Return the values with one more, and True if it can be shown.

    value: one that is not in `values`: it is new, or it is a value that is only counted.
    """
    if isinstance(values, tuple):
        if len(values) < MAX_TUPLE_VALUES:
            return (*values, value), True
        values = ManyValues(values)
    return values, values.add(value)


def json_of_shown(values: DistinctValues) -> str:
    """Return the values that are shown as a JSON array."""
    first = sorted(values)[:SHOWN_VALUES]
    text = orjson.dumps(first)
    if len(text) > SHOWN_BYTES:
        text = orjson.dumps(first[: _number_shown(first)])
    return text.decode()


def shown(values: Iterable[str]) -> list[str]:
    """Return those of the values that are shown, in order. values: without duplicates."""
    ordered = sorted(values)
    return ordered[: _number_shown(ordered)]


def shown_and_next(values: Iterable[str]) -> list[str]:
    """Return those of the values that are shown and the next one, in order.

    Values above the next one are never shown, whatever is added. If the next one were not kept, a
    larger and shorter value could be shown in the bytes into which the next one does not fit.
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
