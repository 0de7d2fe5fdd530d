"""The topic as Kafka describes it now: its identity, its partitions and their offsets."""

from collections.abc import Callable

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    LogTruncationError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from clickstream.clients import kafka_private
from clickstream.storage.positions import TopicIdentity

REQUEST_TIMEOUT_MS = 10_000
# Brokers before this version have no topic ids.
TOPIC_IDS_SINCE = (2, 8)


class Topic:
    """One topic, seen through a consumer that is subscribed to it.

    Methods raise KafkaError while the brokers cannot be reached.
    """

    def __init__(self, name: str, consumer: KafkaConsumer) -> None:
        self.name = name
        self._consumer = consumer

    def identity(self) -> TopicIdentity:
        """Return the identity of the topic in the consumer's metadata.

        Without topic ids it is the cluster id and the name. Raises UnknownTopicOrPartitionError if
        the topic does not exist.
        """
        cluster_id = kafka_private.cluster_id(self._consumer)
        topic_id = kafka_private.topic_id(self._consumer, self.name)
        if topic_id is not None:
            return TopicIdentity(self.name, topic_id, cluster_id)
        if self._consumer.config["api_version"] >= TOPIC_IDS_SINCE:
            raise UnknownTopicOrPartitionError(f"topic {self.name} does not exist")
        return TopicIdentity(self.name, f"{cluster_id}/{self.name}", cluster_id)

    def partitions(self) -> set[int]:
        """Return all partitions of the topic; none if it does not exist."""
        return set(self._consumer.partitions_for_topic(self.name) or ())

    def beginning_offsets(self) -> dict[int, int]:
        """Return the earliest offset that Kafka has of each assigned partition."""
        assigned = list(self._consumer.assignment())
        if not assigned:
            return {}
        return self._offsets(self._consumer.beginning_offsets, assigned)

    def high_watermarks(self) -> dict[int, int]:
        """Return the high watermarks of the assigned partitions fetched since the last seek.

        Taken from fetches, because ListOffsets of the local broker returns wrong ones.
        """
        marks = {p.partition: self._consumer.highwater(p) for p in self._consumer.assignment()}
        return {partition: mark for partition, mark in marks.items() if mark is not None}

    def end_offsets(self, partitions: set[int]) -> dict[int, int]:
        """Return the end offsets of partitions, which other consumers may own."""
        if not partitions:
            return {}
        asked = [TopicPartition(self.name, partition) for partition in partitions]
        return self._offsets(self._consumer.end_offsets, asked)

    def _offsets(
        self, list_offsets: Callable[..., dict[TopicPartition, int]], asked: list[TopicPartition]
    ) -> dict[int, int]:
        try:
            offsets = list_offsets(asked, timeout_ms=REQUEST_TIMEOUT_MS)
        except KeyError:  # raised by kafka-python if an answer lacks a partition
            raise UnknownTopicOrPartitionError(
                f"the broker does not know all partitions of topic {self.name} yet"
            ) from None
        return {partition.partition: offset for partition, offset in offsets.items()}

    def shorter_partitions(self, error: OffsetOutOfRangeError | LogTruncationError) -> list[int]:
        """Return the partitions named by an error that end before the position to be read.

        It excludes partitions that begin after the position: there retention removed the record.
        """
        if isinstance(error, LogTruncationError):
            return sorted(partition.partition for partition in error.divergent_offsets)
        beginnings = self.beginning_offsets()
        return sorted(
            partition.partition
            for partition, offset in error.args[0].items()
            if offset >= beginnings.get(partition.partition, offset + 1)
        )
