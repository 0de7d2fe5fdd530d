"""Positions, watermarks and lag of the partitions that a consumer owns."""

from datetime import UTC, datetime

import pytest

from clickstream.consumer.assignment import Assignment
from clickstream.storage.positions import OwnedPartition, PartitionProgress, TopicIdentity

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2024, 5, 1, 13, tzinfo=UTC)
ASSIGNMENT = Assignment(
    topic=TopicIdentity("t", "id"),
    partitions={0: OwnedPartition(10, 1, NOON), 1: OwnedPartition(20, 2, None)},
    rule_version=3,
)


def progress(
    position: int, watermark: datetime | None = None, duplicates: int = 0
) -> PartitionProgress:
    return PartitionProgress(
        position,
        watermark,
        records=1,
        duplicates=duplicates,
        late=0,
        rejected_by_reason={},
        too_far_ahead=0,
    )


def test_a_stored_batch_moves_positions_and_watermarks_but_no_epochs() -> None:
    advanced = ASSIGNMENT.advance({0: progress(11, None), 1: progress(25, LATER)})
    assert advanced.partitions == {0: OwnedPartition(11, 1, NOON), 1: OwnedPartition(25, 2, LATER)}
    assert (advanced.topic, advanced.rule_version) == (ASSIGNMENT.topic, 3)
    assert ASSIGNMENT.positions == {0: 10, 1: 20}


def test_the_next_batch_is_expected_to_have_duplicates_like_the_last_one() -> None:
    without, with_one = progress(11), progress(21, duplicates=1)
    assert ASSIGNMENT.advance({0: without, 1: with_one}).had_duplicates
    assert not ASSIGNMENT.advance({0: without, 1: without}).had_duplicates


def test_a_partition_is_caught_up_at_its_high_watermark() -> None:
    assert ASSIGNMENT.caught_up({0: 10, 1: 21}) == [0]
    assert ASSIGNMENT.caught_up({0: 9}) == []


def test_a_position_beyond_the_high_watermark_is_ahead_of_it() -> None:
    assert ASSIGNMENT.ahead_of({0: 10, 1: 19}) == [1]
    assert ASSIGNMENT.ahead_of({}) == []
    assert ASSIGNMENT.ahead_of({7: 0}) == []


def test_the_lag_is_the_sum_over_the_partitions_that_were_fetched() -> None:
    assert ASSIGNMENT.lag({0: 15, 1: 22}) == 7
    assert ASSIGNMENT.lag({0: 15}) == 5
    assert ASSIGNMENT.lag({0: 3, 1: 21}) == 1


@pytest.mark.parametrize(
    ("epochs", "rule_version", "kept"),
    [
        ({0: 2, 1: 3}, 3, True),
        ({0: 2, 1: 3, 2: 9}, 3, True),
        ({0: 2}, 3, False),
        ({0: 2, 1: 4}, 3, False),
        ({0: 2, 1: 3}, 4, False),
    ],
    ids=["the same", "one more", "one less", "one with another owner meanwhile", "another rule"],
)
def test_partitions_are_kept_if_none_was_lost_and_no_command_ran(
    epochs: dict[int, int], rule_version: int, kept: bool
) -> None:
    partitions = {number: OwnedPartition(0, epoch, None) for number, epoch in epochs.items()}
    after = Assignment(ASSIGNMENT.topic, partitions, rule_version)
    assert after.keeps(ASSIGNMENT) == kept


@pytest.mark.parametrize(
    ("epochs", "takes_over"),
    [({0: 2, 1: 3}, False), ({0: 2, 1: 3, 2: 1}, False), ({0: 2, 1: 3, 2: 2}, True)],
    ids=["the same", "one that nobody has owned", "one that another consumer may have owned"],
)
def test_a_partition_is_taken_over_if_it_is_new_and_had_an_owner(
    epochs: dict[int, int], takes_over: bool
) -> None:
    partitions = {number: OwnedPartition(0, epoch, None) for number, epoch in epochs.items()}
    after = Assignment(ASSIGNMENT.topic, partitions, rule_version=3)
    assert after.takes_over(ASSIGNMENT) == takes_over
