"""The private attributes of kafka-python that the product uses are still there.

A test that fails after an upgrade of kafka-python names the function of clients/kafka_private.py
that has to be written again.
"""

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.producer.transaction_manager import (
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    ProducerIdAndEpoch,
    TransactionState,
)

from clickstream.clients import kafka_private


@pytest.fixture
def options() -> Iterator[dict[str, Any]]:
    """Options of clients that start without a broker: a port that accepts and never answers.

    With a given version of the broker, the client does not ask for it. (kafka-python leaks the
    socket of a connection that is refused.)
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        yield {"bootstrap_servers": f"127.0.0.1:{port}", "api_version": (3, 9)}


@pytest.fixture
def consumer(options: dict[str, Any]) -> Iterator[KafkaConsumer]:
    with closing(KafkaConsumer(group_id="group", **options)) as client:
        yield client


def test_topic_id_reads_the_metadata_of_the_consumer(consumer: KafkaConsumer) -> None:
    assert kafka_private.topic_id(consumer, "unknown") is None


def test_cluster_id_reads_the_metadata_of_the_consumer(consumer: KafkaConsumer) -> None:
    assert kafka_private.cluster_id(consumer) is None


def test_forget_high_watermarks_changes_what_the_public_method_returns(
    consumer: KafkaConsumer,
) -> None:
    partition = TopicPartition("topic", 0)
    consumer.assign([partition])
    consumer._subscription.assignment[partition].highwater = 7
    assert consumer.highwater(partition) == 7
    kafka_private.forget_high_watermarks(consumer, [partition])
    assert consumer.highwater(partition) is None


def test_last_answer_at_is_none_before_a_broker_has_answered(consumer: KafkaConsumer) -> None:
    assert kafka_private.last_answer_at(consumer) is None


def test_resume_join_asks_the_coordinator_to_join_again(consumer: KafkaConsumer) -> None:
    coordinator = consumer._coordinator
    coordinator.rejoin_needed = False
    kafka_private.resume_join(consumer)
    assert (coordinator.rejoining, coordinator.rejoin_needed) == (False, False)
    coordinator.rejoining = True
    kafka_private.resume_join(consumer)
    assert coordinator.rejoin_needed is True


def test_knows_coordinator_is_false_without_a_broker(consumer: KafkaConsumer) -> None:
    assert kafka_private.knows_coordinator(consumer) is False


def test_never_create_topics_changes_the_requests_of_both_clients(
    options: dict[str, Any], consumer: KafkaConsumer
) -> None:
    with closing(KafkaProducer(**options)) as producer:
        kafka_private.never_create_topics(producer)
        assert not producer._metadata.metadata_request().allow_auto_topic_creation
        kafka_private.abort_pending_records(producer, seconds=10)
    kafka_private.never_create_topics(consumer)
    assert not consumer._cluster.metadata_request().allow_auto_topic_creation


@pytest.mark.parametrize("cause", ["bump_producer_id_and_epoch", "reset_producer_id"])
def test_renew_producer_ids_requests_a_new_id_instead_of_a_new_epoch_or_none(
    cause: str, options: dict[str, Any]
) -> None:
    """The producer calls the second one after a record that timed out."""
    with closing(KafkaProducer(**options)) as producer:
        kafka_private.abort_pending_records(producer, seconds=10)
        kafka_private.renew_producer_ids(producer)
        manager = producer._transaction_manager
        manager.set_producer_id_and_epoch(ProducerIdAndEpoch(5, 0))
        manager._current_state = TransactionState.READY
        manager._pending_requests.clear()
        getattr(manager, cause)()
        request = manager.next_request_handler(False).request
    assert (request.producer_id, request.producer_epoch) == (NO_PRODUCER_ID, NO_PRODUCER_EPOCH)


def test_abort_pending_records_ends_the_thread_that_sends(options: dict[str, Any]) -> None:
    producer = KafkaProducer(**options)
    assert producer._sender.is_alive()
    kafka_private.abort_pending_records(producer, seconds=10)
    assert not producer._sender.is_alive()
    producer.close(timeout=0)
