"""Gathering the records of a batch, until it is full or can be stored."""

from collections.abc import Callable, Mapping

from kafka import TopicPartition

from clickstream.clients.record_batch import Record

POLL_MS = 200
# Each poll already requests the records of the next poll, and Kafka answers with those that it has
# then. A second poll returns the records that came since; it waits this long for the answer.
NEXT_POLL_MS = 5
# Interval of the polls while a batch gathers and cannot be stored yet.
GATHER_SECONDS = 0.05
# kafka-python limits a poll only by its number of records, and each may have 1 MiB.
POLL_RECORDS = 100
# A batch ends at the poll that passes this size.
MAX_BATCH_BYTES = 64 << 20


class GatheredRecords:
    """The records of a batch that gathers, by partition.

    max_events: it is full with this many records, or with the poll that passes MAX_BATCH_BYTES.
    """

    def __init__(self, max_events: int) -> None:
        self.records: dict[int, list[Record]] = {}
        self._events_left = max_events
        self._bytes_left = MAX_BATCH_BYTES

    @property
    def room(self) -> int:
        """The number of records that the next poll may return; 0 if the batch is full."""
        return min(self._events_left, POLL_RECORDS) if self._bytes_left > 0 else 0

    def add(self, polled: Mapping[TopicPartition, list[Record]]) -> None:
        """Add the records of a poll."""
        for partition, some in polled.items():
            self.records.setdefault(partition.partition, []).extend(some)
            self._events_left -= len(some)
            self._bytes_left -= sum(
                [len(each.key or b"") + len(each.value or b"") for each in some]
            )


class Gatherer:
    """Gathers one batch after another.

    If a batch was full, the next one gathers while that batch is being stored. Otherwise gathering
    waits until a batch can be stored, because a poll costs as much CPU time as a hundred records.
    """

    def __init__(self, max_events: int) -> None:
        self._max_events = max_events
        self._is_behind = False

    def gather(
        self, fill: Callable[[GatheredRecords, int], bool], is_free_within: Callable[[float], bool]
    ) -> GatheredRecords:
        """Return the records that come until they can be stored; after POLL_MS without any, none.

        fill: adds the records that Kafka has, waits up to this many milliseconds for the first, and
        returns False if there is nothing more to gather. is_free_within: waits up to this many
        seconds until a batch can be stored, and returns True if one can.
        """
        gathered = GatheredRecords(self._max_events)
        is_free = is_free_within(0 if self._is_behind else GATHER_SECONDS)
        fill(gathered, POLL_MS)
        while gathered.records and gathered.room and fill(gathered, NEXT_POLL_MS):
            if is_free:
                break
            is_free = is_free_within(GATHER_SECONDS)
        self._is_behind = not gathered.room
        return gathered
