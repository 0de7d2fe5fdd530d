"""Stored positions, compared with what Kafka still has when a partition is acquired."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from threading import Event

import psycopg2
import pytest

from clickstream.clients.postgres import connect
from clickstream.errors import UserError
from clickstream.settings import Settings
from clickstream.storage import positions, write_lock
from clickstream.storage.positions import (
    ACQUIRE_OWNERSHIP_LOCK,
    FencedError,
    OwnedPartition,
    TopicIdentity,
)
from tests.services.batches import TOPIC, Batches, owner_on
from tests.services.databases import Query
from tests.services.locks import holding
from tests.services.records import event
from tests.services.waiting import eventually

COUNT_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'owner' AND wait_event_type = 'Lock'
"""

COUNT_MEMBERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'member'
"""


def test_records_that_kafka_removed_before_they_were_read_are_reported_when_reading_starts(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(connect(settings, application="test")) as connection:
        positions.acquire(connection, TOPIC, owner_on(connection), {0: 3, 1: 3})
        owned = positions.acquire(connection, TOPIC, owner_on(connection), {0: 10, 1: 3})
    assert owned == {0: OwnedPartition(10, 2, None), 1: OwnedPartition(3, 2, None)}
    (lost,) = caplog.messages
    assert lost.startswith("LOST: 7 records of partition 0 of topic a-topic (offsets 3 to 9)")


def test_a_consumer_cannot_store_a_batch_after_another_acquired_its_partitions(
    settings: Settings, batches: Batches
) -> None:
    """It was frozen between two batches, so that its connection held no lock."""
    batches.store([[event("a visitor", 0)]])
    with closing(connect(settings, application="test")) as successor:
        positions.acquire(successor, TOPIC, owner_on(successor), {0: 0, 1: 0})
    with pytest.raises(FencedError):
        batches.store([[event("a visitor", 60)]])


class _Silent:
    """A file of which COPY reads a line, and then nothing until `ended` is set."""

    def __init__(self) -> None:
        self.ended = Event()
        self._lines = [b"1\n"]

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002
        if self._lines:
            return self._lines.pop()
        self.ended.wait()
        return b""

    readline = read


@pytest.mark.parametrize("in_copy", [False, True])
def test_a_consumer_frozen_in_a_batch_does_not_keep_others_from_their_partitions(
    in_copy: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the owner of another partition, and stores its batch while no other may."""
    monkeypatch.setattr(positions, "FROZEN_AFTER", timedelta(seconds=1))
    data = _Silent()
    with (
        closing(connect(settings, application="test")) as frozen,
        closing(connect(settings, application="test")) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        positions.acquire(frozen, TOPIC, owner_on(frozen, "a frozen consumer"), {1: 0})
        with frozen.cursor() as cursor:
            cursor.execute(write_lock.statements_for_batch(alone=True))
            cursor.execute("CREATE TEMPORARY TABLE numbers (number integer)")
            copying = thread.submit(cursor.copy_expert, "COPY numbers FROM STDIN", data)
            if not in_copy:
                data.ended.set()
                copying.result()
            try:
                owned = positions.acquire(other, TOPIC, owner_on(other), {0: 0})
            finally:
                data.ended.set()
        assert list(owned) == [0]
        with pytest.raises(psycopg2.Error):
            copying.result() if in_copy else frozen.commit()


def test_a_consumer_frozen_in_a_batch_loses_all_its_connections_to_the_next_owner(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is not large is stored with one connection, which owns a part of it only."""
    monkeypatch.setattr(positions, "ACQUIRE_LOCK_TIMEOUT", "0.1s")
    with (
        closing(connect(settings, application="test")) as storing,
        closing(connect(settings, application="test")) as idle,
        closing(connect(settings, application="test")) as other,
    ):
        for number, each in enumerate([storing, idle]):
            positions.acquire(each, TOPIC, owner_on(each, "a frozen consumer"), {number: 0})
        with storing.cursor() as cursor:
            cursor.execute(write_lock.statements_for_batch(alone=True))
            assert list(positions.acquire(other, TOPIC, owner_on(other), {1: 0})) == [1]
            with pytest.raises(psycopg2.Error):
                storing.commit()


def test_of_two_topics_that_are_acquired_at_the_same_time_one_is_refused(
    settings: Settings, query: Query
) -> None:
    other = TopicIdentity("b-topic", "b-topic-id")
    with (
        closing(connect(settings, application="owner")) as first,
        closing(connect(settings, application="owner")) as second,
        ThreadPoolExecutor(2) as threads,
    ):
        with holding(settings, ACQUIRE_OWNERSHIP_LOCK):
            acquiring = [
                threads.submit(positions.acquire, connection, topic, owner_on(connection), {0: 0})
                for connection, topic in ((first, TOPIC), (second, other))
            ]
            eventually(lambda: query(COUNT_WAITING) == [(2,)])
        errors = [each.exception() for each in acquiring]
    assert [type(error) for error in errors if error] == [UserError]


def test_a_member_of_the_group_is_gone_if_its_connection_ended_before_it_was_released(
    settings: Settings, query: Query
) -> None:
    with closing(connect(settings, application="member")) as stays:
        ended, released = (connect(settings, application="member") for _ in range(2))
        for number, (connection, member) in enumerate(
            [(stays, "stays"), (ended, "ended"), (released, "released")]
        ):
            owner = owner_on(connection, member_id=member)
            positions.acquire(connection, TOPIC, owner, {number: 0})
        with released, released.cursor() as cursor:
            positions.release(cursor, [released.info.backend_pid])
        ended.close()
        released.close()
        eventually(lambda: query(COUNT_MEMBERS) == [(1,)])
        with stays, stays.cursor() as cursor:
            assert positions.gone_members(cursor, TOPIC.name, "a-group") == {"ended"}
            assert positions.gone_members(cursor, TOPIC.name, "b-group") == set()


def test_a_member_that_has_lost_a_partition_is_not_gone_after_it_connected_again(
    settings: Settings, query: Query
) -> None:
    with closing(connect(settings, application="member")) as before:
        positions.acquire(before, TOPIC, owner_on(before, member_id="stays"), {0: 0, 1: 0})
    eventually(lambda: query(COUNT_MEMBERS) == [(0,)])
    with closing(connect(settings, application="member")) as again:
        positions.acquire(again, TOPIC, owner_on(again, member_id="stays"), {0: 0})
        with again, again.cursor() as cursor:
            assert positions.gone_members(cursor, TOPIC.name, "a-group") == set()
