"""The private attributes of kafka-python have what the public methods of the admin client say."""

from contextlib import closing

from kafka import KafkaAdminClient, KafkaConsumer

from clickstream.clients import kafka_private
from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings


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
