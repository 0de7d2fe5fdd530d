"""The random records of `make fuzz`, a few of each kind."""

from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz.__main__ import check_chunk, check_input
from tests.fuzz.inputs import LARGE, LARGEST_BYTES


def test_random_records_are_events_or_rejected_for_each_reason() -> None:
    outcomes, _ = check_chunk(seed=1)
    assert len(outcomes) > 10
    assert outcomes["event"] > 1_000


@pytest.mark.parametrize("make", LARGE)
@pytest.mark.parametrize("seed", range(3))
def test_a_large_hostile_record_is_read_in_bounded_time(
    make: Callable[[Random], bytes], seed: int
) -> None:
    check_input(make(Random(seed))[:LARGEST_BYTES])
