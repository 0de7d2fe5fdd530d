"""Committing offsets to Kafka, only for tools that show the lag: nothing starts from them."""

from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from clickstream.consumer.interval import Interval

INTERVAL_SECONDS = 1.0


class OffsetCommits:
    """Commits stored positions to Kafka, at most every INTERVAL_SECONDS.

    The caller gives the positions of partitions that it owns: another owner may have committed
    later ones.
    """

    def __init__(self, topic: str, consumer: KafkaConsumer) -> None:
        self._topic = topic
        self._consumer = consumer
        self._interval = Interval(INTERVAL_SECONDS)
        self._committed: Mapping[int, int] = {}

    def commit_if_due(self, positions: Mapping[int, int]) -> None:
        """Commit the positions if they have moved and it is time."""
        if self._interval.is_over and positions != self._committed:
            self.commit(positions)

    def commit(self, positions: Mapping[int, int]) -> None:
        """Commit the positions now, without waiting for the answer."""
        self._interval.restart()
        self._committed = positions
        self._consumer.commit_async(
            {
                TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "", -1)
                for partition, offset in positions.items()
            }
        )
