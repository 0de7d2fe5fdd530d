"""Simulated traffic with late and duplicate events, and its truth file."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bench.scripts import PROJECT, Script, running
from clickstream.clients.kafka import connection_options
from clickstream.model.events import EPOCH
from clickstream.settings import Settings

# 12 hours in 36 seconds.
LENGTH, SPEED = "12h", "1200"
# The simulated past ends this long ago, so that the closing events, of now, close all its sessions.
END_BEFORE_NOW = timedelta(hours=6)
FAULTS = ("--duplicate", "0.02", "--late", "0.02", "--max-lateness", "90m")
CLOSING = "closing-"
POLL_SECONDS = 0.1
_MILLISECOND = timedelta(milliseconds=1)

# Visitor, first and last event in milliseconds since 1970, number of events.
SessionKey = tuple[str, int, int, int]


class Traffic:
    """The traffic of one side.

    truth: the file that the producer writes. events: number of different events.
    event_ids: the ids of all events, once `sending` has ended.
    """

    def __init__(self, settings: Settings, truth: Path, events: int) -> None:
        self.event_ids: frozenset[str] = frozenset()
        self._settings = settings
        self._truth = truth
        self._events = events

    @contextmanager
    def sending(self) -> Iterator["Traffic"]:
        """Send the traffic while the block runs; at its end, all of it has been sent."""
        until = (datetime.now(UTC) - END_BEFORE_NOW).isoformat()
        past = ("--backfill", LENGTH, "--until", until, "--speed", SPEED, "--seed", "7")
        size = ("--events", str(self._events), "--truth", str(self._truth))
        with running(PROJECT, self._settings, "producer.py", *past, *size, *FAULTS) as script:
            self._script: Script = script
            yield self
            script.wait()
        self.event_ids = frozenset(value["event_id"] for value in self._values())

    def wait_for(self, share: float) -> None:
        """Wait until this share of the events is in the topic, or the producer has ended."""
        with self._consumer() as (consumer, partitions):
            while sum(consumer.end_offsets(partitions).values()) < share * self._events:
                self._script.check()
                sleep(POLL_SECONDS)

    def send_closing_events(self) -> None:
        """Send two events of now to each partition: the watermark then passes all others."""
        with closing(KafkaProducer(**connection_options(self._settings))) as producer:
            for number in range(2):
                for partition in range(self._settings.kafka_topic_partitions):
                    time = datetime.now(UTC) + timedelta(seconds=number)
                    user_id = f"{CLOSING}{partition}"
                    event = {
                        "event_id": f"00000000-0000-4000-8000-{partition:06}{number:06}",
                        "event_type": "page_view",
                        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                        "user_id": user_id,
                    }
                    producer.send(
                        self._settings.kafka_topic,
                        key=user_id.encode(),
                        value=json.dumps(event).encode(),
                        partition=partition,
                    )
            producer.flush()

    def sessions(self) -> Counter[SessionKey]:
        """Return the true sessions."""
        truth = json.loads(self._truth.read_text(encoding="utf-8"))
        return Counter(
            (
                session["user_id"],
                _milliseconds(session["first_event_timestamp"]),
                _milliseconds(session["last_event_timestamp"]),
                session["total_events"],
            )
            for session in truth["sessions"]
        )

    def _values(self) -> Iterator[Any]:
        with self._consumer() as (consumer, partitions):
            consumer.assign(partitions)
            consumer.seek_to_beginning()
            ends = consumer.end_offsets(partitions)
            while any(consumer.position(each) < end for each, end in ends.items()):
                for records in consumer.poll(timeout_ms=1000).values():
                    yield from (json.loads(record.value) for record in records)

    @contextmanager
    def _consumer(self) -> Iterator[tuple[Any, list[TopicPartition]]]:
        """Yield a consumer without a group, and the partitions of the topic."""
        with closing(KafkaConsumer(**connection_options(self._settings))) as consumer:
            numbers = range(self._settings.kafka_topic_partitions)
            yield consumer, [TopicPartition(self._settings.kafka_topic, n) for n in numbers]


def _milliseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // _MILLISECOND
