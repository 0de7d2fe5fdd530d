"""The topic as one consumer of the group sees it: batches, assignments, ends.

Kafka only delivers. Where to start is said by the stored positions: after each assignment the
consumer takes its partitions and seeks, and until then nothing that was delivered counts.
"""

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import (
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from kafka.structs import OffsetAndMetadata

from clickstream.clients import kafka_private
from clickstream.clients.kafka import connection_options
from clickstream.consumer.batch import Batch
from clickstream.settings import Settings
from clickstream.storage.positions import TopicIdentity

logger = logging.getLogger(__name__)

POLL_MS = 200
METADATA_AGE_MS = 5_000
REQUEST_SECONDS = 10
# As long as the local broker may take; Kafka takes a second or so.
JOIN_SECONDS = 25
TOPIC_IDS_SINCE = (2, 8)


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    """Only marks what happened; the loop does the rest.

    settled: the group has agreed on an assignment. changed: it is not the one last sought.
    """

    def __init__(self) -> None:
        self.settled = False
        self.changed = True

    def on_partitions_revoked(self, revoked: object) -> None:  # noqa: ARG002
        self.settled, self.changed = False, True

    def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002
        self.settled, self.changed = True, True


class Stream:
    """A subscription to the topic, in a consumer group.

    Raises KafkaError while the broker is out of reach.
    """

    def __init__(self, settings: Settings) -> None:
        self.topic = settings.kafka_topic
        self._batch_events = settings.consumer_batch_events
        self._batch_seconds = settings.consumer_batch_ms / 1000
        self._rebalances = Rebalances()
        self._consumer = KafkaConsumer(
            group_id=settings.kafka_group_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            max_poll_records=settings.consumer_batch_events,
            max_poll_interval_ms=30_000,
            # As short as Kafka allows: the local broker lets a join wait for half of it, and a
            # killed member holds its partitions that long.
            session_timeout_ms=6_000,
            heartbeat_interval_ms=2_000,
            metadata_max_age_ms=METADATA_AGE_MS,
            bootstrap_timeout_ms=REQUEST_SECONDS * 1000,
            fetch_max_wait_ms=POLL_MS,
            # Incremental fetches leave out partitions without news, and so their high waters.
            enable_incremental_fetch_sessions=False,
            max_partition_fetch_bytes=4 << 20,
            **connection_options(settings),
        )
        self._consumer.subscribe([self.topic], listener=self._rebalances)

    @property
    def changed(self) -> bool:
        """Whether the assignment may have changed since `seek`: records then do not count."""
        return self._rebalances.changed

    @property
    def settled(self) -> bool:
        """Whether the group has agreed on an assignment, so that it can be taken."""
        return self._rebalances.settled

    def mark_changed(self) -> None:
        """Make the loop take its partitions anew, after whatever went wrong."""
        self._rebalances.changed = True

    def topic_identity(self) -> TopicIdentity:
        """The incarnation of the topic that Kafka has now, as far as the metadata tells.

        A broker older than topic ids is told by its cluster. Raises
        UnknownTopicOrPartitionError while Kafka does not know the topic.
        """
        topic_id = kafka_private.topic_id(self._consumer, self.topic)
        if topic_id is not None:
            return TopicIdentity(self.topic, topic_id)
        if self._consumer.config["api_version"] >= TOPIC_IDS_SINCE:
            raise UnknownTopicOrPartitionError(f"topic {self.topic} does not exist")
        cluster_id = kafka_private.cluster_id(self._consumer)
        return TopicIdentity(self.topic, f"{cluster_id}/{self.topic}")

    def partitions(self) -> set[int]:
        """All partitions of the topic; empty while it does not exist."""
        return set(self._consumer.partitions_for_topic(self.topic) or ())

    def beginning_offsets(self) -> dict[int, int]:
        """The earliest offsets that Kafka has of the partitions assigned."""
        assigned = list(self._consumer.assignment())
        if not assigned:
            return {}
        offsets = self._consumer.beginning_offsets(assigned, timeout_ms=REQUEST_SECONDS * 1000)
        return {partition.partition: offset for partition, offset in offsets.items()}

    def seek(self, starts: Mapping[int, int]) -> None:
        """Read on from these offsets; what is delivered from now on counts.

        The ends known so far are forgotten: they may be older than what others stored meanwhile.
        """
        partitions = {TopicPartition(self.topic, n): offset for n, offset in starts.items()}
        for partition, offset in partitions.items():
            self._consumer.seek(partition, offset)
        kafka_private.forget_high_watermarks(self._consumer, partitions)
        self._rebalances.changed = False

    def read(self) -> Batch | None:
        """The next records: as many as a batch may have, or what came within its time.

        None where the assignment changed meanwhile: those records are not ours to store.
        """
        records: dict[int, list[Any]] = {}
        left = self._batch_events
        deadline = None
        while left > 0 and (deadline is None or monotonic() < deadline):
            polled = self._poll(left)
            if self.changed:
                return None
            for partition, some in polled.items():
                records.setdefault(partition.partition, []).extend(some)
                left -= len(some)
            if not records:
                break
            deadline = deadline or monotonic() + self._batch_seconds
        return Batch(records, self._positions())

    def _poll(self, limit: int) -> dict[TopicPartition, list[Any]]:
        kafka_private.resume_join(self._consumer)
        try:
            polled: dict[TopicPartition, list[Any]] = self._consumer.poll(
                timeout_ms=POLL_MS, max_records=limit
            )
        except NoOffsetForPartitionError:  # a new assignment, before `seek`
            self.mark_changed()
            return {}
        return polled

    def _positions(self) -> dict[int, int]:
        """Offsets of the next records; beyond the last delivered one where control records are."""
        return {
            partition.partition: self._consumer.position(partition)
            for partition in self._consumer.assignment()
        }

    def high_watermarks(self) -> dict[int, int]:
        """The ends of the partitions assigned, as the last fetches showed them.

        From fetches alone: ListOffsets of the local broker is wrong.
        """
        marks = {p.partition: self._consumer.highwater(p) for p in self._consumer.assignment()}
        return {partition: mark for partition, mark in marks.items() if mark is not None}

    def ends(self, partitions: set[int]) -> dict[int, int]:
        """The ends of partitions that others hold."""
        if not partitions:
            return {}
        offsets = self._consumer.end_offsets(
            [TopicPartition(self.topic, partition) for partition in partitions],
            timeout_ms=REQUEST_SECONDS * 1000,
        )
        return {partition.partition: offset for partition, offset in offsets.items()}

    def report_progress(self, stored: Mapping[int, int]) -> None:
        """Commit offsets to Kafka, for lag tools alone."""
        self._consumer.commit_async(
            {
                TopicPartition(self.topic, partition): OffsetAndMetadata(offset, "", -1)
                for partition, offset in stored.items()
            }
        )

    def shorter_partitions(self, error: OffsetOutOfRangeError | LogTruncationError) -> list[int]:
        """The partitions that end before the position at which they were to be read.

        Of those that begin behind it there are none: retention removed what was to be read.
        """
        if isinstance(error, LogTruncationError):
            return sorted(partition.partition for partition in error.divergent_offsets)
        beginning_offsets = self.beginning_offsets()
        return sorted(
            partition.partition
            for partition, offset in error.args[0].items()
            if offset >= beginning_offsets.get(partition.partition, offset + 1)
        )

    def stay(self) -> None:
        """Tell the group that this consumer lives, without reading."""
        self._consumer.pause(*self._consumer.assignment())
        self._poll(1)
        self._consumer.resume(*self._consumer.paused())

    def wait(self, seconds: float) -> None:
        """Let time pass without leaving the group and without records."""
        deadline = monotonic() + seconds
        self._consumer.pause(*self._consumer.assignment())
        try:
            while (left := deadline - monotonic()) > 0:
                self._consumer.poll(timeout_ms=int(left * 1000) + 1)
                self._consumer.pause(*self._consumer.assignment())
        finally:
            self._consumer.resume(*self._consumer.paused())
            self.mark_changed()

    def close(self) -> None:
        """Leave the group; one that is being joined is joined first.

        The local broker would count on the member it has just let in for ever.
        """
        deadline = monotonic() + JOIN_SECONDS
        try:
            while not self.settled and self._can_join() and monotonic() < deadline:
                self._poll(1)
        finally:
            self._consumer.close(autocommit=False, timeout_ms=REQUEST_SECONDS * 1000)

    def _can_join(self) -> bool:
        return kafka_private.knows_coordinator(self._consumer)
