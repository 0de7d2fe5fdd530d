"""The private attributes of kafka-python have what the public methods of the admin client say."""

import gc
from contextlib import closing
from functools import partial
from weakref import ref

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from clickstream.clients import kafka_private
from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings
from tests.services.waiting import eventually


def test_known_brokers_are_those_of_the_cluster(admin: KafkaAdminClient) -> None:
    brokers = admin.describe_cluster()["brokers"]
    expected = [(broker["host"], broker["port"]) for broker in brokers]
    assert kafka_private.known_brokers(admin) == expected


def test_topic_id_and_cluster_id_are_those_of_the_cluster(
    admin: KafkaAdminClient, settings: Settings
) -> None:
    topic = settings.kafka_topic
    (described,) = admin.describe_topics([topic])
    with closing(KafkaConsumer(topic, **connection_options(settings))) as consumer:
        assert consumer.partitions_for_topic(topic)
        assert kafka_private.topic_id(consumer, topic) == str(described["topic_id"])
        assert kafka_private.cluster_id(consumer) == admin.describe_cluster()["cluster_id"]


def test_fetched_records_are_those_after_the_polled_ones(settings: Settings) -> None:
    values = [b"a", b"b", b"c"]
    with closing(KafkaProducer(**connection_options(settings))) as producer:
        for value in values:
            producer.send(settings.kafka_topic, value, partition=0)
        producer.flush()
    partition = TopicPartition(settings.kafka_topic, 0)
    options = {"auto_offset_reset": "earliest", **connection_options(settings)}
    with closing(KafkaConsumer(**options)) as consumer:
        kafka_private.read_every_batch(consumer, max_value_bytes=100)
        consumer.assign([partition])
        (first,) = eventually(lambda: consumer.poll(timeout_ms=100, max_records=1))[partition]
        found = [first]
        while len(found) < len(values):  # the producer may have sent them in several batches
            fetched = kafka_private.fetched_records(consumer, 10)
            found += (fetched or consumer.poll(timeout_ms=100))[partition]
        assert [record.value for record in found] == values
        assert consumer.position(partition) == len(values)


def test_fetch_in_order_decides_which_partition_is_read_first(settings: Settings) -> None:
    topic = settings.kafka_topic
    with closing(KafkaProducer(**connection_options(settings))) as producer:
        numbers = sorted(producer.partitions_for(topic))
        for number in numbers:
            producer.send(topic, b"value", partition=number)
        producer.flush()
    assert len(numbers) > 1
    in_order = [TopicPartition(topic, number) for number in numbers]
    for order in (in_order, in_order[::-1]):
        with closing(KafkaConsumer(**connection_options(settings))) as consumer:
            consumer.assign(in_order)
            for partition in in_order:
                consumer.seek(partition, 0)
            kafka_private.fetch_in_order(consumer, order)
            polls = [eventually(partial(consumer.poll, 100, max_records=1)) for _ in order]
        assert [partition for poll in polls for partition in poll] == order


def test_receive_large_pieces_receives_records_of_any_size(settings: Settings) -> None:
    values = [bytes(size) for size in (1, 3 * kafka_private.PIECE_BYTES, 1)]
    options = connection_options(settings)
    with closing(KafkaProducer(max_request_size=1 << 20, **options)) as producer:
        for value in values:
            producer.send(settings.kafka_topic, value, partition=0)
        producer.flush()
    partition = TopicPartition(settings.kafka_topic, 0)
    with closing(KafkaConsumer(auto_offset_reset="earliest", **options)) as consumer:
        kafka_private.receive_large_pieces(consumer)
        consumer.assign([partition])
        found: list[bytes] = []
        while len(found) < len(values):
            polled = eventually(lambda: consumer.poll(timeout_ms=100))
            found += [record.value for record in polled[partition]]
        assert found == values
        connections = consumer._client._manager._conns.values()
        assert all(each.transport._sock_recv.func is kafka_private._receive for each in connections)


def poll_beside_batch(consumer: KafkaConsumer) -> "ref[set[int]]":
    """Poll a consumer that has no records, and return a reference to an object of this function."""
    batch = {1, 2, 3}
    assert consumer.poll(timeout_ms=50) == {}
    return ref(batch)


def test_a_poll_without_records_keeps_no_object_of_its_caller(settings: Settings) -> None:
    partition = TopicPartition(settings.kafka_topic, 0)
    options = {"auto_offset_reset": "earliest", **connection_options(settings)}
    with closing(KafkaConsumer(**options)) as consumer:
        kafka_private.keep_nothing_after_timeouts(consumer)
        consumer.assign([partition])
        assert consumer.position(partition) == 0
        gc.disable()
        try:
            assert [poll_beside_batch(consumer)() for _ in range(3)] == [None, None, None]
        finally:
            gc.enable()


def test_append_record_sends_a_record_to_the_partition_that_it_names(settings: Settings) -> None:
    topic = settings.kafka_topic
    with closing(KafkaProducer(**connection_options(settings))) as producer:
        assert kafka_private.known_partitions(producer, f"{topic}-unknown") == set()
        expected = producer.partitions_for(topic)
        assert kafka_private.known_partitions(producer, topic) == expected
        last = TopicPartition(topic, max(expected))
        first = kafka_private.append_record(producer, last, b"key", b"value").get(30)
        sent = producer.send(topic, b"value", b"key", partition=last.partition).get(30)
    assert (first.partition, first.offset) == (last.partition, 0)
    sizes = (first.serialized_key_size, first.serialized_value_size)
    assert sizes == (sent.serialized_key_size, sent.serialized_value_size) == (3, 5)
