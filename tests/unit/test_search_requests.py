"""Bulk requests are made of the actions of a step, in their order and within the limits."""

from itertools import chain
from random import Random

import pytest

from clickstream.indexer.document_reader import split

MAX_ACTIONS, MAX_BYTES = 7, 100


@pytest.mark.parametrize("seed", range(20))
def test_each_request_is_within_the_limits_or_has_one_action(seed: int) -> None:
    random = Random(seed)
    groups = [
        [b"x" * random.choice((1, 5, 30, 99, 100, 300)) for _ in range(random.randrange(20))]
        for _ in range(random.randrange(9))
    ]
    requests = list(split(groups, MAX_ACTIONS, MAX_BYTES))
    assert list(chain(*requests)) == list(chain(*groups))
    for request in requests:
        assert 1 <= len(request) <= MAX_ACTIONS
        assert len(request) == 1 or len(b"\n".join(request)) + 1 <= MAX_BYTES
