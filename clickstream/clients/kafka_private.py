"""Every private attribute of kafka-python that the product uses, each with the reason.

Written for kafka-python 3.0.12. If an upgrade removes one, a test named test_kafka_private.py
fails (tests/unit and tests/services).
"""

import logging
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError, UnknownError, UnsupportedCodecError
from kafka.producer.transaction_manager import (
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    ProducerIdAndEpoch,
)
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint

from clickstream.clients import decompression
from clickstream.clients.unusable_value import UnusableValue
from clickstream.errors import first_line

logger = logging.getLogger(__name__)


def topic_id(consumer: KafkaConsumer, topic: str) -> str | None:
    """Return the topic id in the consumer's metadata; None if it has none.

    The consumer has no public method for it. The admin client has one, but that is a second
    connection and a request before every batch.
    """
    found = consumer._cluster.topic_id(topic)
    return None if found is None else str(found)


def cluster_id(consumer: KafkaConsumer) -> str | None:
    """Return the cluster id in the consumer's metadata; None if it has none.

    The same reason as for `topic_id`.
    """
    found: str | None = consumer._cluster.cluster_id
    return found


def known_brokers(admin: KafkaAdminClient) -> list[tuple[str, int]]:
    """Return host and port of each broker in the metadata that the client was started with.

    The public `describe_cluster` sends a request, and waits without limit for a broker that does
    not answer.
    """
    return [(broker.host, broker.port) for broker in admin._client.cluster.brokers()]


def forget_high_watermarks(consumer: KafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
    """Make `consumer.highwater` return None for partitions until they are fetched again.

    A seek keeps the high watermark of an earlier fetch, which may be smaller than the position
    that another consumer has stored since.
    """
    for partition in partitions:
        consumer._subscription.assignment[partition].highwater = None


def resume_join(consumer: KafkaConsumer) -> None:
    """Make the next poll continue a join that the last poll did not finish.

    kafka-python 3.0.12 forgets such a join if new metadata was its only cause. The consumer then
    stays without partitions.
    """
    if consumer._coordinator.rejoining:
        consumer._coordinator.request_rejoin()


def last_answer_at(consumer: KafkaConsumer) -> float | None:
    """Return when a broker last sent something, by time.monotonic; None without a connection.

    The client retries by itself, and tells nobody that the brokers do not answer.
    """
    connections = list(consumer._client._manager._conns.values())
    return max((each.transport.last_read for each in connections if each.connected), default=None)


def knows_coordinator(consumer: KafkaConsumer) -> bool:
    """Return True if the consumer is connected to the coordinator of its group.

    Public methods of the consumer only wait for the coordinator.
    """
    return not consumer._coordinator.coordinator_unknown()


def abort_pending_records(producer: KafkaProducer, seconds: float) -> None:
    """Make every record that is not acknowledged fail; wait for this many seconds at most.

    `producer.close` flushes first: it waits for these records and raises.
    """
    sender: Any = producer._sender
    sender.force_close()
    sender.join(seconds)


def never_create_topics(client: KafkaConsumer | KafkaProducer) -> None:
    """Make a client not create the topics that it asks for.

    kafka-python 3.0.12 does not pass its option allow_auto_create_topics on. A topic that is
    missing for a moment would be created with the broker's number of partitions.
    """
    cluster = client._metadata if isinstance(client, KafkaProducer) else client._cluster
    cluster.config["allow_auto_create_topics"] = False


# Errors that the local broker answers after a start, while its topic does not exist yet.
LOCAL_REFUSALS = (UnknownError,)


def renew_producer_ids(producer: KafkaProducer) -> None:
    """Make an idempotent producer ask for a new id when a broker does not accept its id any more.

    kafka-python 3.0.12 asks for a new epoch of the same id. A broker that has lost its state, such
    as the local one after a restart, refuses that, and the producer then fails every record, as it
    does after LOCAL_REFUSALS. After a record that timed out it gives its id up, never asks for
    another one, and sends nothing any more. There is no public option.
    """
    manager = producer._transaction_manager
    if manager is None:
        return
    bump = manager.bump_producer_id_and_epoch
    manager._NEEDS_EPOCH_BUMP_ERRORS = manager._NEEDS_EPOCH_BUMP_ERRORS.union(LOCAL_REFUSALS)

    def renew() -> None:
        with manager._lock:
            manager.set_producer_id_and_epoch(ProducerIdAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH))
            bump()

    manager.bump_producer_id_and_epoch = renew
    manager.reset_producer_id = renew


# == Reading every batch that a broker accepts ===================================================

# A wrong checksum may come from the transfer: the batch is fetched again up to this many times.
CHECKSUM_TRIES = 3
# A batch is decompressed up to this size, which is far above that of any producer's default.
MAX_BATCH_BYTES = 64 << 20
DECODING_ERRORS = (
    CorruptRecordError,
    UnsupportedCodecError,
    AssertionError,  # of kafka-python's reader of batches from before Kafka 0.11
    IndexError,
    OSError,  # of gzip
    EOFError,  # of gzip
    struct.error,
    *decompression.ERRORS,
)


def read_every_batch(consumer: KafkaConsumer, max_value_bytes: int) -> None:
    """Make a consumer continue after each batch that it cannot decode.

    The value of a record that cannot be decoded, or that has more than max_value_bytes, becomes an
    UnusableValue. Headers are not read. `consumer.poll` raises CorruptRecordError for a batch with
    a wrong checksum, CHECKSUM_TRIES times at the same offset at most.

    kafka-python 3.0.12 raises an error at a header whose name is not UTF-8, bytes after a gzip
    stream, or a second snappy stream, and never leaves such a batch. It decompresses without limit.
    """
    consumer._fetcher.PartitionRecords = partial(
        PartitionRecords, failures=Counter(), max_value_bytes=max_value_bytes
    )


class RecordBatch(DefaultRecordBatch):  # type: ignore[misc] # kafka-python has no types
    """A record batch that is decompressed leniently and up to MAX_BATCH_BYTES."""

    _buffer: bytearray
    _pos: int
    _decompressed: bool

    def __init__(self, batch: DefaultRecordBatch, max_value_bytes: int) -> None:
        super().__init__(batch._buffer)
        self._max_value_bytes = max_value_bytes

    def _maybe_uncompress(self) -> None:
        if self.compression_type and not self._decompressed:
            data = bytes(memoryview(self._buffer)[self._pos :])
            self._buffer = decompression.decompress(self.compression_type, data, MAX_BATCH_BYTES)
            self._pos = 0
        self._decompressed = True

    def _read_msg(self) -> DefaultRecord:
        """Return the next record without its headers. Of a large value only the beginning is read.

        Raises an IndexError or ValueError if there is no complete record.
        """
        if self.is_control_batch:
            return super()._read_msg()
        buffer = self._buffer
        if self._pos >= len(buffer):
            raise CorruptRecordError(
                f"its batch has too few bytes, or more than {MAX_BATCH_BYTES} decompressed"
            )
        length, start = decode_varint(buffer, self._pos)
        time_delta, position = decode_varint(buffer, start + 1)  # after the attributes
        offset_delta, position = decode_varint(buffer, position)
        key_bytes, position = decode_varint(buffer, position)
        key = None
        if key_bytes >= 0:
            key = bytes(buffer[position : position + key_bytes])
            position += key_bytes
        value_bytes, position = decode_varint(buffer, position)
        value, end = self._read_value(position, value_bytes), start + length
        is_cut = end > len(buffer) and isinstance(value, UnusableValue)
        if min(key_bytes, value_bytes) < -1 or not (
            is_cut or self._behind_headers(position + max(value_bytes, 0)) == end
        ):
            raise ValueError("the length of a record is wrong")
        self._pos = end
        is_append_time = self.timestamp_type == self.LOG_APPEND_TIME
        timestamp = self.max_timestamp if is_append_time else self.first_timestamp + time_delta
        return DefaultRecord(
            length, self.base_offset + offset_delta, timestamp, self.timestamp_type, key, value, ()
        )

    def _read_value(self, position: int, size: int) -> bytes | UnusableValue | None:
        if size < 0:
            return None
        value = bytes(self._buffer[position : position + min(size, self._max_value_bytes)])
        if size <= self._max_value_bytes:
            return value
        return UnusableValue(
            "value_too_large",
            f"The value has {size} bytes; {self._max_value_bytes} are allowed, and the first "
            f"{len(value)} are kept.",
            value,
        )

    def _behind_headers(self, position: int) -> int:
        """Return the position after the headers of a record, which are not decoded."""
        count, position = decode_varint(self._buffer, position)
        for _ in range(2 * count):  # names and values
            size, position = decode_varint(self._buffer, position)
            position += max(size, 0)
        return int(position)


class FetchedBatches:
    """The record batches of one partition in a fetch, with verified checksums.

    current: the batch of the last call of `next_batch`; None if it could not be read. is_damaged:
    its checksum is wrong, or it could not be read.
    """

    def __init__(self, records: Any, max_value_bytes: int) -> None:
        self.current: Any = None
        self.is_damaged = False
        self._records = records
        self._max_value_bytes = max_value_bytes

    def next_batch(self) -> Any:
        """Return the next batch; None at the end. Raises CorruptRecordError for a damaged one."""
        self.current, self.is_damaged = None, True
        self.current = batch = self._records.next_batch()
        if batch is not None:
            if not batch.validate_crc():
                raise CorruptRecordError("the checksum of a record batch is wrong")
            if batch.magic == 2:
                self.current = RecordBatch(batch, self._max_value_bytes)
        self.is_damaged = False
        return self.current

    def last_offset(self, first: int) -> int:
        """Return the last offset of the current batch; less than `first` if all of it was read.

        first: the next offset to read. The result may be wrong for a damaged batch.
        """
        batch = self.current
        if batch is None:
            return first
        last = int(batch.last_offset if batch.magic == 2 else batch.base_offset)
        if not self.is_damaged:
            return last
        is_whole = batch.magic == 2 and batch.records_count == batch.last_offset_delta + 1
        return max(first, last) if is_whole else first


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one partition in a fetch, including those that cannot be decoded.

    failures: how often a batch was damaged, by partition and offset.
    """

    next_fetch_offset: int

    def __init__(
        self,
        *arguments: Any,
        failures: Counter[tuple[TopicPartition, int]],
        max_value_bytes: int,
        **options: Any,
    ) -> None:
        self._failures = failures
        self._max_value_bytes = max_value_bytes
        super().__init__(*arguments, **{**options, "check_crcs": False})

    def _unpack_records(self, tp: TopicPartition, records: Any, *deserializers: Any) -> Any:
        batches = FetchedBatches(records, self._max_value_bytes)
        while self:
            try:
                yield from super()._unpack_records(tp, batches, *deserializers)
            except DECODING_ERRORS as error:
                if batches.is_damaged:
                    self._fetch_again(tp, error)
                yield from self._unreadable_records(tp, batches, error)

    def _fetch_again(self, tp: TopicPartition, error: Exception) -> None:
        """Raise CorruptRecordError, unless this was tried CHECKSUM_TRIES times."""
        place = tp, self.next_fetch_offset
        self._failures[place] += 1
        if self._failures[place] < CHECKSUM_TRIES:
            self.drain()  # else the consumer would never fetch again
            raise CorruptRecordError(f"partition {tp.partition}, offset {place[1]}: {error}")

    def _unreadable_records(
        self, tp: TopicPartition, batches: FetchedBatches, error: Exception
    ) -> Iterator[ConsumerRecord]:
        """Yield a record for each offset of the current batch that was not read."""
        first = self.next_fetch_offset
        last = batches.last_offset(first)
        cause = first_line(error)
        if last >= first:
            logger.warning(
                "rejecting offsets %d to %d of partition %d of topic %s: Kafka's record batch "
                "cannot be decoded (%s)",
                first, last, tp.partition, tp.topic, cause,
            )  # fmt: skip
        detail = (
            f"The record cannot be decoded, with offsets {first} to {last} of its batch: {cause}."
        )
        timestamp = getattr(batches.current, "max_timestamp", None)
        for offset in range(first, last + 1):
            self.next_fetch_offset = offset + 1
            yield ConsumerRecord(
                tp.topic, tp.partition, self.leader_epoch, offset, timestamp, None, None,
                UnusableValue("unreadable", detail), (), None, -1, -1, -1,
            )  # fmt: skip
        if batches.current is None:
            self.drain()  # the batches after it cannot be found in this fetch
