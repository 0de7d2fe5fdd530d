"""The share of the partitions that each storing thread stores while the consumer is behind."""

from collections.abc import Iterable

STORING_THREADS = 2


def divide(partitions: Iterable[int]) -> list[list[int]]:
    """Return the partitions of each storing thread, which may be none.

    By their numbers they belong to the threads in turns; Stream.seek relies on that.
    """
    in_order = sorted(partitions)
    return [in_order[number::STORING_THREADS] for number in range(STORING_THREADS)]
