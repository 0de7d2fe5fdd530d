"""Where simulated records go: to Kafka, every one acknowledged, or to standard output."""

import logging
import sys
from collections import deque
from functools import lru_cache
from typing import Any, Protocol

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, UnknownTopicOrPartitionError
from kafka.partitioner import DefaultPartitioner, murmur2

from clickstream.errors import UserError
from clickstream.servers.kafka import connection_options
from clickstream.settings import Settings
from clickstream.traffic.events import Event, Record

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_MS = 10_000
# A broker may be away for as long as this before anything is given up.
DELIVERY_TIMEOUT_MS = 600_000
# The largest record that is handed to a broker, whose own limit is usually lower.
MAX_REQUEST_BYTES = 16 * 1024 * 1024
# From here on a record is compressed, as brokers take about 1 MiB.
LARGE_BYTES = 900_000
CLOSE_TIMEOUT_SECONDS = 10
# kafka-python buffers without a bound of its own; what it needs for a record beside the value.
MOST_PENDING_BYTES = 32 * 1024 * 1024
OVERHEAD_BYTES = 1_000


class Sink(Protocol):
    """Takes records and counts what became of them. reason: why the first failure was one."""

    sent: int
    acknowledged: int
    failed: int
    reason: str

    def has_room(self) -> bool:
        """Whether to send more; what is pending is bounded."""

    def send(self, record: Record | Event) -> None:
        """Take a record."""

    def settle(self) -> bool:
        """See what has been answered since; True when nothing is pending."""

    def close(self) -> None:
        """Let go of the server."""


class StandardOutput:
    """Prints the values, one a line."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.reason = ""

    def has_room(self) -> bool:
        return True

    def send(self, record: Record | Event) -> None:
        sys.stdout.buffer.write((record.value or b"") + b"\n")
        self.sent += 1
        self.acknowledged += 1

    def settle(self) -> bool:
        sys.stdout.buffer.flush()
        return True

    def close(self) -> None:
        self.settle()


class _Partitioner(DefaultPartitioner):  # type: ignore[misc]
    """The usual partition of a key (murmur2), whose hash in Python takes long enough to keep it."""

    def partition(
        self,
        topic: str,
        key: Any,
        serialized_key: bytes | None,
        value: Any,
        serialized_value: bytes | None,
        cluster: Any,
    ) -> int:
        if serialized_key is None:
            chosen = super().partition(topic, key, None, value, serialized_value, cluster)
            return int(chosen)
        partitions = sorted(cluster.partitions_for_topic(topic))
        return int(partitions[_hash(serialized_key) % len(partitions)])


@lru_cache(maxsize=100_000)
def _hash(key: bytes) -> int:
    return int(murmur2(key) & 0x7FFF_FFFF)


class Kafka:
    """Sends to the topic with an idempotent producer and waits for all replicas.

    Raises UserError where the broker is out of reach or the topic is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.reason = ""
        self._topic = settings.kafka_topic
        self._pending: deque[tuple[Any, int]] = deque()
        self._pending_bytes = 0
        _warn_of_weak_acks(settings)
        _check_topic(settings)
        self._settings = settings
        self._producer = _producer(settings, bootstrap_timeout_ms=CONNECT_TIMEOUT_MS)
        self._producer.partitions_for(self._topic)  # else the first send waits for them
        self._large_producer: Any = None

    def has_room(self) -> bool:
        if self._pending_bytes >= MOST_PENDING_BYTES:
            self.settle()
        return self._pending_bytes < MOST_PENDING_BYTES

    def send(self, record: Record | Event) -> None:
        self.sent += 1
        size = len(record.value or b"")
        producer = self._producer if size < LARGE_BYTES else self._for_large_ones()
        try:
            future = producer.send(self._topic, record.value, record.key)
        except KafkaError as error:
            self._fail(error)
        else:
            self._pending.append((future, size + OVERHEAD_BYTES))
            self._pending_bytes += size + OVERHEAD_BYTES

    def settle(self) -> bool:
        pending = self._pending
        while pending and pending[0][0].is_done:
            future, size = pending.popleft()
            self._pending_bytes -= size
            if future.exception is None:
                self.acknowledged += 1
            else:
                self._fail(future.exception)
        return not pending

    def close(self) -> None:
        for producer in (self._producer, self._large_producer):
            if producer:
                producer.close(timeout=CLOSE_TIMEOUT_SECONDS)

    def _for_large_ones(self) -> Any:
        """A producer that compresses: a broker's limit is on the size of what it stores."""
        if self._large_producer is None:
            self._large_producer = _producer(
                self._settings,
                compression_type="gzip",
                # The broker may be away just now.
                bootstrap_timeout_ms=DELIVERY_TIMEOUT_MS,
            )
        return self._large_producer

    def _fail(self, error: Exception) -> None:
        self.failed += 1
        self.reason = self.reason or _sentence(error)


def _warn_of_weak_acks(settings: Settings) -> None:
    if settings.kafka_acks != "all":
        logger.warning(
            "KAFKA_ACKS=%s turns idempotence off: a resent event may be stored twice in the topic, "
            "and exit status 0 no longer means that all replicas have every event",
            settings.kafka_acks,
        )


def _producer(settings: Settings, **more: Any) -> Any:
    everywhere = settings.kafka_acks == "all"
    try:
        return KafkaProducer(
            **connection_options(settings),
            **more,
            acks="all" if everywhere else int(settings.kafka_acks),
            enable_idempotence=everywhere,
            batch_size=settings.batch_size,
            linger_ms=settings.linger_ms,
            partitioner=_Partitioner(),
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            max_block_ms=DELIVERY_TIMEOUT_MS,
            max_request_size=MAX_REQUEST_BYTES,
            allow_auto_create_topics=False,
        )
    except (KafkaError, OSError) as error:
        raise _out_of_reach(settings, error) from None


def _check_topic(settings: Settings) -> None:
    try:
        admin = KafkaAdminClient(
            **connection_options(settings), bootstrap_timeout_ms=CONNECT_TIMEOUT_MS
        )
        try:
            described = admin.describe_topics([settings.kafka_topic])
        finally:
            admin.close()
    except (KafkaError, OSError) as error:
        raise _out_of_reach(settings, error) from None
    if described[0]["error_code"] == UnknownTopicOrPartitionError.errno:
        raise UserError(
            f"topic {settings.kafka_topic!r} does not exist on "
            f"{settings.kafka_bootstrap_servers}; create it with: python create_schema.py"
        )


def _out_of_reach(settings: Settings, error: Exception) -> UserError:
    return UserError(
        f"cannot reach Kafka at {settings.kafka_bootstrap_servers}: {_sentence(error)}; "
        "find the cause with: python -m clickstream doctor, "
        "or start local servers with: python -m clickstream stack up"
    )


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
