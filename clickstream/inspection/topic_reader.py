"""Reading a topic outside the consumer group: the ends of its partitions, and single records."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError, OffsetOutOfRangeError

from clickstream.clients import kafka_private
from clickstream.clients.kafka import connection_options
from clickstream.consumer.topic import REQUEST_TIMEOUT_MS, Topic
from clickstream.model.events import MAX_VALUE_BYTES
from clickstream.settings import Settings

POLL_MS = 200
FETCH_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class UnreadRecords:
    """The records of a partition that are not read yet.

    first: offset of the first one. end: the end offset of the partition. oldest_at: timestamp of
    the first record; None if there is none, or if it has no timestamp.
    """

    first: int
    end: int
    oldest_at: datetime | None

    @property
    def number(self) -> int:
        """The number of offsets from the first to the end."""
        return max(0, self.end - self.first)


class TopicReader:
    """A Kafka consumer without a group, so that it owns no partitions.

    Methods raise KafkaError while the brokers cannot be reached. Use it in a `with` statement.
    """

    def __init__(self, settings: Settings) -> None:
        self._consumer = KafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
            fetch_max_wait_ms=POLL_MS,
            # An incremental fetch omits partitions without new records, and their high watermarks.
            enable_incremental_fetch_sessions=False,
            max_partition_fetch_bytes=FETCH_BYTES,
            **connection_options(settings),
        )
        kafka_private.never_create_topics(self._consumer)
        kafka_private.read_every_batch(self._consumer, MAX_VALUE_BYTES)
        self.topic = Topic(settings.kafka_topic, self._consumer)

    def __enter__(self) -> "TopicReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._consumer.close(autocommit=False, timeout_ms=REQUEST_TIMEOUT_MS)

    def beginning_offsets(self) -> dict[int, int]:
        """Return the earliest offset that Kafka has of every partition."""
        self._assign(self.topic.partitions())
        return self.topic.beginning_offsets()

    def unread(self, positions: Mapping[int, int]) -> dict[int, UnreadRecords]:
        """Return the unread records of every partition.

        positions: offset of the next record to read, by partition. A partition without one, or
        that does not have this offset, counts from its beginning.
        """
        beginnings = self.beginning_offsets()
        firsts = {n: max(positions.get(n, 0), first) for n, first in beginnings.items()}
        self._seek(firsts)
        oldest: dict[int, Any] = {}
        deadline = monotonic() + REQUEST_TIMEOUT_MS / 1000
        while self._is_waiting(oldest):
            if monotonic() > deadline:
                raise KafkaTimeoutError(f"no answer within {REQUEST_TIMEOUT_MS // 1000} s")
            try:
                polled = self._consumer.poll(timeout_ms=POLL_MS)
            except OffsetOutOfRangeError as error:
                shorter = {each.partition: beginnings[each.partition] for each in error.args[0]}
                firsts |= shorter
                self._seek(shorter)
                continue
            for partition, records in polled.items():
                oldest.setdefault(partition.partition, records[0])
                self._consumer.pause(partition)
        ends = self.topic.high_watermarks()
        return {
            n: UnreadRecords(first, ends[n], _time(oldest.get(n))) for n, first in firsts.items()
        }

    def record(self, partition: int, offset: int) -> Any | None:
        """Return the record at an offset before the end; None if Kafka has none there.

        Retention or compaction removes records, and control records occupy offsets.
        """
        if partition not in self.topic.partitions():
            return None
        self._assign({partition})
        if offset < self.topic.beginning_offsets()[partition]:
            return None
        self._seek({partition: offset})
        assigned = TopicPartition(self.topic.name, partition)
        deadline = monotonic() + REQUEST_TIMEOUT_MS / 1000
        while self._consumer.position(assigned) <= offset:
            if monotonic() > deadline:
                raise KafkaTimeoutError(f"no answer within {REQUEST_TIMEOUT_MS // 1000} s")
            for records in self._consumer.poll(timeout_ms=POLL_MS, max_records=1).values():
                return records[0] if records[0].offset == offset else None
        return None

    def _is_waiting(self, oldest: Mapping[int, Any]) -> bool:
        """Return True if the end or the first unread record of a partition is not known yet."""
        ends = self.topic.high_watermarks()
        return any(
            each.partition not in ends
            or (
                each.partition not in oldest
                and self._consumer.position(each) < ends[each.partition]
            )
            for each in self._consumer.assignment()
        )

    def _assign(self, partitions: set[int]) -> None:
        self._consumer.assign([TopicPartition(self.topic.name, number) for number in partitions])

    def _seek(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            self._consumer.seek(TopicPartition(self.topic.name, partition), offset)


def _time(record: Any) -> datetime | None:
    """Return the timestamp of a record; None if there is no record, or no valid timestamp."""
    if record is None or record.timestamp is None or record.timestamp < 0:
        return None
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
