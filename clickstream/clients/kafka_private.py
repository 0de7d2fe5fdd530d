"""Every private attribute of kafka-python that the product uses, each with the reason.

Written for kafka-python 3.0.12. If an upgrade removes one, a test named test_kafka_private.py
fails (tests/unit and tests/services).
"""

from collections.abc import Iterable
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition


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
    """Make the next poll go on with a join that outlasted the last one.

    kafka-python 3.0.12 forgets such a join if new metadata was its only cause. The consumer then
    stays without partitions.
    """
    if consumer._coordinator.rejoining:
        consumer._coordinator.request_rejoin()


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
