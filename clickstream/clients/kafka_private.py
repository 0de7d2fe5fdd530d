"""Every private attribute of kafka-python that the product uses, each with the reason.

Written for kafka-python 3.0.12. If an upgrade removes one, a test named test_kafka_private.py
fails (tests/unit and tests/services).
"""

import logging
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from crc32c import crc32c
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import (
    CorruptRecordError,
    KafkaConnectionError,
    KafkaTimeoutError,
    UnknownError,
    UnsupportedCodecError,
)
from kafka.producer.transaction_manager import (
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    ProducerIdAndEpoch,
)
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords

from clickstream.clients import decompression
from clickstream.clients.record_batch import Record, decode, decode_legacy
from clickstream.clients.unusable_value import UnusableValue
from clickstream.errors import first_line

logger = logging.getLogger(__name__)

# The bytes that a connection of a consumer receives at once.
PIECE_BYTES = 256 << 10


def topic_id(consumer: KafkaConsumer, topic: str) -> str | None:
    """Return the topic id in the consumer's metadata; None if it has none.

    The consumer has no public method for it. The admin client has one, but that is a second
    connection and a request before every batch.
    """
    found = consumer._cluster.topic_id(topic)
    return None if found is None else str(found)


def cluster_id(consumer: KafkaConsumer) -> str | None:
    """Return the cluster id in the consumer's metadata; None if it has none.

    The reason is the same as for `topic_id`.
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


def fetch_in_order(consumer: KafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
    """Make the consumer fetch its partitions in this order, again and again.

    The first few partitions of a request often fill Kafka's answer. kafka-python shuffles the
    partitions of a new assignment, and requests them in turns after that.
    """
    for partition in partitions:
        consumer._subscription.move_partition_to_end(partition)


def fetched_records(consumer: KafkaConsumer, limit: int) -> dict[TopicPartition, list[Record]]:
    """Return up to `limit` records that were fetched already; call it after `consumer.poll`.

    A poll costs as much as a hundred records: it also visits the group and the network thread.
    """
    records, _ = consumer._fetcher.fetched_records(limit)
    return dict(records)


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
    """Keep a client from creating the topics that it asks for.

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


def append_record(
    producer: KafkaProducer, partition: TopicPartition, key: bytes, value: bytes
) -> Any:
    """Append a record to the open batch of a partition, and return its future.

    The public `send` does the same, but its checks of types, headers, size and partition double the
    time. The caller gives bytes below the size limit, and a partition that the producer knows.
    """
    future, batch_is_full, is_new_batch, _ = producer._accumulator.append(
        partition, None, key, value, []
    )
    if batch_is_full or is_new_batch:
        producer._sender.wakeup()
    return future


def known_partitions(producer: KafkaProducer, topic: str) -> set[int]:
    """Return the partitions of a topic in the producer's metadata; none if it is not there.

    The public `partitions_for` waits for metadata.
    """
    return producer._metadata.partitions_for_topic(topic) or set()


def receive_large_pieces(consumer: KafkaConsumer) -> None:
    """Make the connections that a consumer opens from now on receive PIECE_BYTES at once.

    kafka-python 3.0.12 receives 4 KiB at once, about ten records, and joins all that has arrived.
    That is a fifth of its CPU time, and after each piece it waits for the interpreter.
    """
    manager = consumer._client._manager
    build_transport = manager._build_transport

    async def build(*arguments: Any, **options: Any) -> Any:
        transport = await build_transport(*arguments, **options)
        transport._sock_recv = partial(_receive, transport._sock)
        return transport

    manager._build_transport = build


def _receive(connected: socket.socket) -> tuple[bytes, KafkaConnectionError | None]:
    """Return what has arrived, of at most about PIECE_BYTES, and an error if the connection ended.

    A connection by TLS gives at most 16 KiB at once.
    """
    pieces: list[bytes] = []
    try:
        while sum(map(len, pieces)) < PIECE_BYTES:
            piece = connected.recv(PIECE_BYTES)
            if not piece:
                return b"".join(pieces), KafkaConnectionError("socket disconnected")
            pieces.append(piece)
    except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        pass
    except OSError as error:
        return b"".join(pieces), KafkaConnectionError(error)
    return b"".join(pieces), None


class FetcherNetwork:
    """The network of a consumer's fetcher. The error of a timeout refers to no stack frames.

    In kafka-python 3.0.12 such an error is stored in an object that its own stack frames refer to.
    Until the next garbage collection, each poll that finds no record would keep the answer of the
    fetch that it waited for, and the batch that gathers.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    def run(self, coroutine: Any, *arguments: Any) -> Any:
        """Run a coroutine, and return its result. Raises what it raises."""
        try:
            return self._network.run(coroutine, *arguments)
        except KafkaTimeoutError as error:
            error.__traceback__ = None
            raise KafkaTimeoutError(*error.args) from None


def keep_nothing_after_timeouts(consumer: KafkaConsumer) -> None:
    """Make the polls of a consumer leave no reference cycles."""
    consumer._fetcher._net = FetcherNetwork(consumer._fetcher._net)


# == Reading every batch that a broker accepts ===================================================

# A wrong checksum may come from the transfer: the batch is fetched again up to this many times.
CHECKSUM_TRIES = 3
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


def _is_checksum_right(batch: Any) -> bool:
    """Do the same as kafka-python's `validate_crc`, without releasing the interpreter.

    For 32 KiB or more it is released, for the few microseconds that a checksum takes. While another
    thread works, it may take 5 ms to get it back.
    """
    if batch.magic < 2:
        return bool(batch.validate_crc())
    checked = memoryview(batch._buffer)[batch.ATTRIBUTES_OFFSET :]
    return crc32c(checked, gil_release_mode=0) == int(batch.crc)


class FetchedBatches:
    """The record batches of one partition in a fetch, with verified checksums.

    current: the batch of the last call of `next_batch`; None if it could not be read. is_damaged:
    its checksum is wrong, or it could not be read.
    """

    def __init__(self, records: MemoryRecords) -> None:
        self.current: Any = None
        self.is_damaged = False
        self._records = records

    def next_batch(self) -> Any:
        """Return the next batch; None at the end. Raises CorruptRecordError for a damaged one."""
        self.current, self.is_damaged = None, True
        self.current = batch = self._records.next_batch()
        if batch is not None and not _is_checksum_right(batch):
            raise CorruptRecordError("the checksum of a record batch is wrong")
        self.is_damaged = False
        return batch

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


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc] # kafka-python has no types
    """The records of one partition in a fetch, including those that cannot be decoded.

    failures: how often a batch was damaged, by partition and offset.
    """

    next_fetch_offset: int

    def __init__(
        self,
        fetch_offset: int,
        partition: TopicPartition,
        records: MemoryRecords,
        *,
        failures: Counter[tuple[TopicPartition, int]],
        max_value_bytes: int,
        **options: Any,
    ) -> None:
        self._failures = failures
        self._max_value_bytes = max_value_bytes
        super().__init__(fetch_offset, partition, records, **{**options, "check_crcs": False})
        self.bytes_read = records.size_in_bytes()

    def _unpack_records(
        self, tp: TopicPartition, records: MemoryRecords, *_deserializers: object
    ) -> Iterator[Record]:
        batches = FetchedBatches(records)
        while self:
            try:
                yield from self._records_of(tp, batches)
            except DECODING_ERRORS as error:
                if batches.is_damaged:
                    self._fetch_again(tp, error)
                yield from self._unreadable_records(tp, batches, error)

    def _records_of(self, tp: TopicPartition, batches: FetchedBatches) -> Iterator[Record]:
        """Yield the records of the batches that follow, and drain this fetch after the last one.

        It replaces kafka-python's `_unpack_records`, which takes more time for each record.
        """
        while (batch := batches.next_batch()) is not None:
            for record in self._decode(tp, batch):
                self.records_read += 1
                self.next_fetch_offset = record.offset + 1
                yield record
            if batch.magic == 2:  # compaction may have removed its last record
                self.next_fetch_offset = batch.next_offset
        self.drain()

    def _decode(self, tp: TopicPartition, batch: Any) -> Iterable[Record]:
        """Return the records of a batch that consumers may see."""
        if batch.magic < 2:
            return decode_legacy(batch, tp)
        self.leader_epoch = batch.leader_epoch
        if self._is_aborted(batch) or batch.is_control_batch:
            return ()
        data = bytes(memoryview(batch._buffer)[batch.HEADER_STRUCT.size :])
        return decode(batch, data, tp, self._max_value_bytes)

    def _is_aborted(self, batch: Any) -> bool:
        """Return True if a batch belongs to an aborted transaction; call it for each batch."""
        if self.isolation_level != IsolationLevel.READ_COMMITTED or not batch.has_producer_id():
            return False
        self._consume_aborted_transactions_up_to(batch.last_offset)
        if self._contains_abort_marker(batch):
            self.aborted_producer_ids.discard(batch.producer_id)
            return False
        return bool(self._is_batch_aborted(batch))

    def _fetch_again(self, tp: TopicPartition, error: Exception) -> None:
        """Raise CorruptRecordError, unless this was tried CHECKSUM_TRIES times."""
        offset = self.next_fetch_offset
        self._failures[tp, offset] += 1
        if self._failures[tp, offset] < CHECKSUM_TRIES:
            self.drain()  # else the consumer would never fetch again
            raise CorruptRecordError(f"partition {tp.partition}, offset {offset}: {error}")

    def _unreadable_records(
        self, tp: TopicPartition, batches: FetchedBatches, error: Exception
    ) -> Iterator[Record]:
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
            value = UnusableValue("unreadable", detail)
            yield Record(tp.topic, tp.partition, offset, timestamp, None, value)
        if batches.current is None:
            self.drain()  # the batches after it cannot be found in this fetch
