"""The partitions that a consumer owns, with its position in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clickstream.storage.positions import OwnedPartition, PartitionProgress, TopicIdentity


@dataclass(frozen=True, slots=True)
class Assignment:
    """Partitions of one topic under the epochs that this consumer acquired.

    rule_version: version of the stored session rule when the epochs were acquired. backends: see
    `Owner`.
    had_duplicates: True if the last batch had some, so that the next one probably has some, too.
    """

    topic: TopicIdentity
    partitions: Mapping[int, OwnedPartition]
    rule_version: int
    backends: Sequence[int] = ()
    had_duplicates: bool = False

    @property
    def positions(self) -> dict[int, int]:
        """The offset of the next record to read, by partition."""
        return {partition: owned.position for partition, owned in self.partitions.items()}

    def keeps(self, before: "Assignment") -> bool:
        """Return True if no partition was lost since an earlier assignment, not even for a moment.

        Each acquisition of a partition, and each command that changes sessions, increases its epoch
        by 1.
        """
        return self.rule_version == before.rule_version and all(
            number in self.partitions and self.partitions[number].epoch == owned.epoch + 1
            for number, owned in before.partitions.items()
        )

    def takes_over(self, before: "Assignment") -> bool:
        """Return True if somebody may have owned one of the partitions that are new since `before`.

        The first owner of a partition has epoch 1.
        """
        return any(
            owned.epoch > 1
            for number, owned in self.partitions.items()
            if number not in before.partitions
        )

    def advance(self, progress: Mapping[int, PartitionProgress]) -> "Assignment":
        """Return the assignment after a batch that made this progress was stored.

        progress: by partition, of some or all of the partitions.
        """
        advanced = {
            partition: replace(
                self.partitions[partition],
                position=each.position,
                watermark=each.watermark or self.partitions[partition].watermark,
            )
            for partition, each in progress.items()
        }
        partitions = {**self.partitions, **advanced}
        had_duplicates = any(each.duplicates for each in progress.values())
        return replace(self, partitions=partitions, had_duplicates=had_duplicates)

    def caught_up(self, high_watermarks: Mapping[int, int]) -> list[int]:
        """Return the partitions that were read to their high watermarks."""
        return [n for n, position in self.positions.items() if position == high_watermarks.get(n)]

    def ahead_of(self, high_watermarks: Mapping[int, int]) -> list[int]:
        """Return the partitions with a position beyond their high watermark."""
        positions = self.positions
        return [n for n, mark in high_watermarks.items() if n in positions and positions[n] > mark]

    def lag(self, high_watermarks: Mapping[int, int]) -> int:
        """Return the number of offsets between the positions and the high watermarks."""
        return sum(
            max(0, high_watermarks[n] - position)
            for n, position in self.positions.items()
            if n in high_watermarks
        )
