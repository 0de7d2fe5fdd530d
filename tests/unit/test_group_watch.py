"""The warnings of a consumer that waits for its group or its topic."""

import pytest

from clickstream.consumer.group_watch import REBALANCE_SECONDS, GroupWatch


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> GroupWatch:
    return GroupWatch("a-group", "a-topic", clock)


def test_a_rebalance_that_does_not_end_causes_repeated_warnings(
    watch: GroupWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        watch.observe(settled=False, topic_is_missing=False)
        clock.seconds += REBALANCE_SECONDS
    (first, second) = caplog.messages
    assert first == second
    assert first.startswith("consumer group a-group is stuck rebalancing: ")


def test_rebalances_that_end_are_not_warned_of(
    watch: GroupWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for settled in (False, True, False, True):
        watch.observe(settled=settled, topic_is_missing=False)
        clock.seconds += REBALANCE_SECONDS - 1
    assert caplog.messages == []


def test_a_missing_topic_is_warned_of_once_each_time_it_is_missing(
    watch: GroupWatch, caplog: pytest.LogCaptureFixture
) -> None:
    for missing in (True, True, False, True):
        watch.observe(settled=True, topic_is_missing=missing)
    warning = (
        "topic a-topic does not exist yet: waiting for it (python create_schema.py creates it)"
    )
    assert caplog.messages == [warning, warning]
