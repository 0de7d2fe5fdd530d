"""A batch gathers until it is full or can be stored."""

from collections.abc import Callable

from kafka import TopicPartition

from clickstream.clients.record_batch import Record
from clickstream.consumer.gathering import MAX_BATCH_BYTES, GatheredRecords, Gatherer

PARTITION = TopicPartition("topic", 0)


def records(number: int, size: int = 1) -> dict[TopicPartition, list[Record]]:
    """Return the records of a poll."""
    return {PARTITION: [Record("topic", 0, n, 0, None, bytes(size)) for n in range(number)]}


def answering(*numbers: int) -> Callable[[GatheredRecords, int], bool]:
    """Return a function that adds this many records at each call, and none after that."""
    left = list(numbers)

    def fill(gathered: GatheredRecords, timeout_ms: int) -> bool:  # noqa: ARG001
        if left:
            gathered.add(records(left.pop(0)))
        return True

    return fill


def free_after(calls: int) -> Callable[[float], bool]:
    """Return a function that says at the last of these calls that a batch can be stored."""
    left = iter(range(calls - 1, -1, -1))
    return lambda seconds: next(left) == 0  # noqa: ARG005


def number_of(gathered: GatheredRecords) -> int:
    return sum(map(len, gathered.records.values()))


def test_a_batch_has_what_comes_until_it_can_be_stored() -> None:
    gathered = Gatherer(1_000).gather(answering(1, 2, 4, 8, 16), free_after(3))
    assert number_of(gathered) == 1 + 2 + 4 + 8


def test_a_batch_that_can_be_stored_at_once_has_what_has_come() -> None:
    """The second poll has what came after the first one was asked for."""
    gathered = Gatherer(1_000).gather(answering(1, 2, 4), lambda _: True)
    assert number_of(gathered) == 1 + 2


def test_without_records_a_batch_does_not_wait_until_it_can_be_stored() -> None:
    gathered = Gatherer(1_000).gather(answering(), lambda _: False)
    assert number_of(gathered) == 0


def test_a_batch_ends_when_it_is_full() -> None:
    assert number_of(Gatherer(3).gather(answering(1, 2, 4), lambda _: False)) == 3


def test_a_batch_ends_when_nothing_more_is_to_be_gathered() -> None:
    def fill(gathered: GatheredRecords, timeout_ms: int) -> bool:  # noqa: ARG001
        gathered.add(records(1))
        return False

    assert number_of(Gatherer(1_000).gather(fill, lambda _: False)) == 2


def test_only_after_a_full_batch_the_next_one_gathers_without_waiting_first() -> None:
    waits: list[float] = []

    def is_free_within(seconds: float) -> bool:
        waits.append(seconds)
        return True

    gatherer = Gatherer(2)
    for numbers in [1, 0], [2], [1, 0], [1, 0]:
        gatherer.gather(answering(*numbers), is_free_within)
    assert [seconds > 0 for seconds in waits] == [True, True, False, True]


def test_a_batch_is_full_with_its_records_or_with_its_bytes() -> None:
    gathered = GatheredRecords(250)
    gathered.add(records(100))
    assert gathered.room == 100
    gathered.add(records(100))
    assert gathered.room == 50
    gathered.add(records(1, size=MAX_BATCH_BYTES))
    assert gathered.room == 0
