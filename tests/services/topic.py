"""The records that are in a topic."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings
from tests.services.waiting import eventually


def records(environment: Mapping[str, str]) -> Iterator[Any]:
    """Yield all records of the topic; nobody may be writing to it."""
    settings = Settings.from_mapping(dict(environment))
    options = connection_options(settings)
    with closing(KafkaConsumer(**options, auto_offset_reset="earliest")) as consumer:
        known = eventually(lambda: consumer.partitions_for_topic(settings.kafka_topic))
        partitions = [TopicPartition(settings.kafka_topic, number) for number in known]
        consumer.assign(partitions)
        while True:
            batches = consumer.poll(timeout_ms=1_000)
            if not batches:
                return
            for batch in batches.values():
                yield from batch


def drift(times: Sequence[int], due: Sequence[float]) -> float:
    """Return how many ms more the second half of the records was late than the first half.

    times: when each was sent, ms. due: when each had to be sent, ms from any zero. In each half the
    most punctual record counts: a busy machine sends some of them late, but none early.
    """
    late = [time - each for time, each in zip(times, due, strict=True)]
    half = len(late) // 2
    return min(late[half:]) - min(late[:half])


def values(environment: Mapping[str, str]) -> list[bytes]:
    """Return the values of all records of the topic."""
    return [record.value for record in records(environment)]
