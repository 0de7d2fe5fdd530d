"""Distinct values: those shown and their number depend on the set alone, and memory is bounded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from sys import getsizeof

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clickstream.model import distinct_values
from clickstream.model.distinct_values import (
    COUNTED_VALUES,
    SHOWN_BYTES,
    DistinctValues,
    distinct,
    json_of_shown,
    shown,
    shown_and_next,
    with_new_value,
)

# Smaller limits, so that short lists of short texts exceed them.
SMALL = {"SHOWN_VALUES": 5, "SHOWN_BYTES": 24, "COUNTED_VALUES": 8, "MAX_TUPLE_VALUES": 2}


@contextmanager
def small_limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in SMALL.items():
            patch.setattr(distinct_values, name, limit)
        yield


def json_bytes(values: list[str]) -> int:
    return len(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())


def expected(values: list[str]) -> list[str]:
    """Return the longest beginning of the sorted values that the limits allow."""
    ordered = sorted(set(values))[: SMALL["SHOWN_VALUES"]]
    while json_bytes(ordered) > SMALL["SHOWN_BYTES"]:
        ordered.pop()
    return ordered


# Quotes and control characters take more bytes in JSON than in UTF-8.
texts = st.text(st.sampled_from('abc"\x01\x7fé😀'), max_size=8)


@given(st.lists(texts, max_size=60))
@example(["a", "b" * 30, "c" * 30, "ac"])
def test_the_values_shown_and_their_number_are_those_of_the_whole_set(values: list[str]) -> None:
    with small_limits():
        found = distinct(values)
        assert shown(found) == json.loads(json_of_shown(found)) == expected(values)
        assert len(found) == min(len(set(values)), SMALL["COUNTED_VALUES"])


@given(st.sets(texts, max_size=20), st.sets(texts, max_size=20))
def test_pruned_values_are_enough_to_add_further_ones(before: set[str], later: set[str]) -> None:
    with small_limits():
        assert shown({*shown_and_next(before), *later}) == expected([*before, *later])


@pytest.mark.parametrize("repeated", ["a", "\x01", "é", "😀"])
def test_as_many_of_the_smallest_values_are_shown_as_fit_into_256_kib(repeated: str) -> None:
    values = [f"{n:03}" + 8_189 * repeated for n in range(300)]
    Random(1).shuffle(values)
    found = shown(distinct(values))
    assert json.loads(json_of_shown(distinct(values))) == found
    assert found == sorted(values)[: len(found)]
    size = json_bytes(found)
    assert size <= SHOWN_BYTES < size + json_bytes(values[:1]) - 1


def test_the_memory_of_large_values_is_bounded() -> None:
    values: DistinctValues = ()
    for number in range(4_000):
        values, _ = with_new_value(values, f"{number * 7919 % 4_000:04}é" + 2_000 * "x")
        assert sum(map(getsizeof, values)) < 4 * SHOWN_BYTES
    assert len(values) == 4_000 <= COUNTED_VALUES
