"""The waiting time between attempts: doubled, limited, with jitter."""

from random import Random

import pytest

from clickstream.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 0.5), (1, 1), (2, 2), (3, 4), (4, 5), (9, 5)]
)
def test_the_wait_doubles_with_each_failure_up_to_the_limit(failures: int, longest: float) -> None:
    waits = [Backoff(0.5, 5, Random(seed)).seconds(failures) for seed in range(100)]
    assert longest / 2 <= min(waits) < 0.55 * longest
    assert 0.95 * longest < max(waits) <= longest


def test_an_outage_of_days_does_not_overflow_the_wait() -> None:
    assert 2.5 <= Backoff(0.2, 5, Random(1)).seconds(100_000) <= 5
