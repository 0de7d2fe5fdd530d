"""The producer of the topic: idempotent, with the partitions that Kafka's own clients choose."""

import logging
from functools import lru_cache
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    NoError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.partitioner import DefaultPartitioner, murmur2

from clickstream.clients import kafka_private
from clickstream.clients.addresses import kafka_address
from clickstream.clients.kafka import check_reachable, connection_options
from clickstream.clients.kafka_handshake import find_refusal
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_MS = 10_000


class _Partitioner(DefaultPartitioner):  # type: ignore[misc]
    """The default partitioner (murmur2) with a cache, as the hash is slow in Python."""

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
        return _partition(serialized_key, cluster.partitions_for_topic(topic) or set())


def _partition(key: bytes, partitions: set[int]) -> int:
    if not partitions:
        raise KafkaTimeoutError("the partitions are unknown at the moment")
    return sorted(partitions)[_hash(key) % len(partitions)]


@lru_cache(maxsize=100_000)
def _hash(key: bytes) -> int:
    return int(murmur2(key) & 0x7FFF_FFFF)


def send(producer: Any, topic: str, key: bytes | None, value: bytes | None) -> Any:
    """Send a record and return its future.

    key, value: together smaller than the producer's largest request, which is not checked.
    Raises KafkaTimeoutError if the topic's partitions are unknown at the moment.
    """
    if key is None or value is None:
        return producer.send(topic, value, key)
    partition = _partition(key, kafka_private.known_partitions(producer, topic))
    return kafka_private.append_record(producer, TopicPartition(topic, partition), key, value)


def connect_producer(settings: Settings, **options: Any) -> Any:
    """Return a producer that waits for all replicas, or for as many as KAFKA_ACKS says.

    options: arguments of KafkaProducer; they replace those of the settings. Raises UserError if no
    broker can be reached.
    """
    all_replicas = settings.kafka_acks == "all"
    try:
        producer = KafkaProducer(
            **connection_options(settings),
            acks="all" if all_replicas else int(settings.kafka_acks),
            enable_idempotence=all_replicas,
            batch_size=settings.batch_size,
            linger_ms=settings.linger_ms,
            partitioner=_Partitioner(),
            **{"bootstrap_timeout_ms": CONNECT_TIMEOUT_MS, **options},
        )
        kafka_private.never_create_topics(producer)
        kafka_private.renew_producer_ids(producer)
        # Otherwise the first send would wait for them.
        producer.partitions_for(settings.kafka_topic)
        return producer
    except (KafkaError, OSError) as error:
        raise _cannot_reach(settings, error) from None


def warn_of_weak_acks(settings: Settings) -> None:
    """Log a warning if KAFKA_ACKS turns the guarantee of delivery off."""
    if settings.kafka_acks != "all":
        logger.warning(
            "KAFKA_ACKS=%s turns idempotence off: a resent event may be stored twice in the topic, "
            "and exit status 0 no longer means that all replicas have every event",
            settings.kafka_acks,
        )


def check_topic(settings: Settings) -> None:
    """Raise UserError if the topic does not exist or cannot be used, or no broker answers."""
    try:
        check_reachable(settings)
        admin = KafkaAdminClient(
            **connection_options(settings), bootstrap_timeout_ms=CONNECT_TIMEOUT_MS
        )
        try:
            described = admin.describe_topics([settings.kafka_topic])
        finally:
            admin.close()
    except (KafkaError, OSError) as error:
        raise _cannot_reach(settings, error) from None
    problem = for_code(described[0]["error_code"])
    if problem is UnknownTopicOrPartitionError:
        raise UserError(
            f"topic {settings.kafka_topic!r} does not exist on {kafka_address(settings)}; "
            "create it with: python create_schema.py"
        )
    if problem is not NoError:
        raise UserError(
            f"topic {settings.kafka_topic!r} on {kafka_address(settings)} cannot be used: "
            f"{problem.__name__}; check KAFKA_TOPIC and the rights of the Kafka user"
        )


def _cannot_reach(settings: Settings, error: Exception) -> UserError:
    return find_refusal(settings) or UserError(
        f"cannot reach {kafka_address(settings)} ({first_line(error)}); "
        "find the cause with: python -m clickstream doctor, "
        "or start local servers with: python -m clickstream stack up"
    )
