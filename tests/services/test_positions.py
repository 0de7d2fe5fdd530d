"""Stored positions, compared with what Kafka still has when a partition is acquired."""

from contextlib import closing

import pytest

from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from clickstream.storage import positions
from clickstream.storage.positions import OwnedPartition, TopicIdentity

TOPIC = TopicIdentity("a-topic", "a-topic-id")


def test_records_that_kafka_removed_before_they_were_read_are_reported_when_reading_starts(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(connect(settings, application="test")) as connection:
        positions.acquire(connection, TOPIC, "a-group", "a test", {0: 3, 1: 3})
        owned = positions.acquire(connection, TOPIC, "a-group", "a test", {0: 10, 1: 3})
    assert owned == {0: OwnedPartition(10, 2, None), 1: OwnedPartition(3, 2, None)}
    (lost,) = caplog.messages
    assert lost.startswith("LOST: 7 records of partition 0 of topic a-topic (offsets 3 to 9)")
