"""Storing batches in threads of their own, while the loop reads the next batch.

From `start` until `finish` or `discard` has returned or raised, a storing thread owns its
connection, and in the session cache the visitors of its batch. The loop's thread owns the
connections and the visitors of all threads that store nothing, and the counters.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from time import monotonic, sleep
from typing import TypeAlias

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import ParsedBatch
from clickstream.consumer.interval import Interval
from clickstream.storage.positions import PartitionProgress

# Kafka ends the membership of a consumer that does not poll for 30 s.
HEARTBEAT_SECONDS = 5.0
Progress: TypeAlias = Mapping[int, PartitionProgress]


class StoringThread:
    """A thread that stores one batch at a time.

    store: stores a batch and returns the progress of its partitions. interval_seconds: the shortest
    time from the start of a batch to the start of the next. clock: returns seconds; it never goes
    back.
    """

    def __init__(
        self,
        store: Callable[[Assignment, ParsedBatch], Progress],
        interval_seconds: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._interval = Interval(interval_seconds, clock)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._stored: Future[Progress] | None = None
        self._batch: ParsedBatch | None = None
        self._last_failed = False

    @property
    def batch(self) -> ParsedBatch | None:
        """The batch that is being stored; None if there is none."""
        return self._batch

    def is_done_or_has(self, partitions: Collection[int]) -> bool:
        """Return True if no batch is being stored, or one that has any of these partitions."""
        if self._batch is None or self._stored is None or self._stored.done():
            return True
        return not self._batch.read.positions.keys().isdisjoint(partitions)

    @property
    def is_healthy(self) -> bool:
        """True if the last batch did not fail, or if there is none to store."""
        return self._stored is None or not self._last_failed

    def is_free_within(self, seconds: float) -> bool:
        """Wait up to this many seconds until a batch can be stored; return True if one can."""
        if self._stored is not None and not wait([self._stored], seconds).done:
            return False
        sleep(max(0.0, min(seconds, self._interval.seconds_left)))
        return self._interval.is_over

    def delays(self, batch: ParsedBatch) -> bool:
        """Return True if a batch must wait for the one that is being stored."""
        return self._batch is not None and not batch.may_be_stored_beside(self._batch)

    def start(self, assignment: Assignment, batch: ParsedBatch) -> None:
        """Begin to store a batch; the one before it must be finished or discarded."""
        self._interval.restart()
        self._batch = batch
        self._stored = self._executor.submit(self._store, assignment, batch)

    def finish(self, heartbeat: Callable[[], object]) -> Progress | None:
        """Wait for the batch that is being stored, and return the progress of its partitions.

        Return None if no batch is being stored; raise what storing it raised.
        heartbeat: called every HEARTBEAT_SECONDS.
        """
        stored = self._wait(heartbeat)
        try:
            return stored.result() if stored else None
        finally:
            del stored  # else an error and this frame refer to each other, and keep the batch

    def discard(self, heartbeat: Callable[[], object]) -> Progress | None:
        """Wait for the batch that is being stored; return its progress, or None if it failed.

        heartbeat: called every HEARTBEAT_SECONDS.
        """
        stored = self._wait(heartbeat)
        return stored.result() if stored and not stored.exception() else None

    def _wait(self, heartbeat: Callable[[], object]) -> Future[Progress] | None:
        """Wait for the batch that is being stored, and return its end; None if there is none."""
        if self._stored is None:
            return None
        while not wait([self._stored], HEARTBEAT_SECONDS).done:
            heartbeat()
        stored, self._stored, self._batch = self._stored, None, None
        self._last_failed = stored.exception() is not None
        return stored

    def close(self) -> None:
        """Wait for the batch that is being stored, and end the thread; `finish` may follow."""
        self._executor.shutdown()
