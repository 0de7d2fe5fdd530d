"""The storing thread: one batch at a time, and no result or error is lost."""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from threading import Event

import pytest

from clickstream.clients.record_batch import Record
from clickstream.consumer import storing
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch, ParsedBatch
from clickstream.consumer.storing import Progress, StoringThread
from clickstream.model.reading import NATIVE_READING
from clickstream.storage.positions import PartitionProgress, TopicIdentity

BEFORE = Assignment(TopicIdentity("t", "id"), {}, rule_version=1)
AFTER = {0: PartitionProgress(1, None, 1, 0, 0, {}, 0)}
BATCH = ParsedBatch(Batch({}, {}), NATIVE_READING)


class Store:
    """Stores nothing, but only when it may; fails if it has an error."""

    def __init__(self) -> None:
        self.may_end = Event()
        self.error: Exception | None = None
        self.stored: list[tuple[Assignment, ParsedBatch]] = []

    def __call__(self, assignment: Assignment, batch: ParsedBatch) -> Progress:
        assert self.may_end.wait(120)
        if self.error:
            raise self.error
        self.stored.append((assignment, batch))
        return AFTER


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def thread(store: Store) -> Iterator[StoringThread]:
    thread = StoringThread(store, interval_seconds=0)
    yield thread
    store.may_end.set()
    thread.close()


def no_heartbeat() -> None:
    pytest.fail("a heartbeat was sent")


def test_finish_returns_the_progress_of_the_batch_once(thread: StoringThread, store: Store) -> None:
    assert thread.finish(no_heartbeat) is None
    thread.start(BEFORE, BATCH)
    store.may_end.set()
    assert thread.finish(no_heartbeat) == AFTER
    assert thread.finish(no_heartbeat) is None
    assert store.stored == [(BEFORE, BATCH)]


def test_it_is_free_when_the_batch_before_is_stored(thread: StoringThread, store: Store) -> None:
    assert thread.is_free_within(0)
    thread.start(BEFORE, BATCH)
    assert not thread.is_free_within(0)
    store.may_end.set()
    assert thread.is_free_within(120)
    assert thread.finish(no_heartbeat) == AFTER


def test_it_delays_a_batch_with_the_same_partition_or_visitor_until_its_own_is_stored(
    thread: StoringThread, store: Store
) -> None:
    def batch(partition: int, visitor: str) -> ParsedBatch:
        return ParsedBatch(Batch({}, {partition: 1}), NATIVE_READING, visitors={visitor})

    assert not thread.delays(batch(0, "v"))
    thread.start(BEFORE, batch(0, "v"))
    same = [batch(1, "v"), batch(0, "w")]
    assert [thread.delays(each) for each in [*same, batch(1, "w")]] == [True, True, False]
    store.may_end.set()
    assert thread.finish(no_heartbeat) == AFTER
    assert not any(thread.delays(each) for each in same)
    thread.start(BEFORE, batch(0, "v"))
    thread.discard(no_heartbeat)
    assert not any(thread.delays(each) for each in same)


def test_it_is_free_when_the_interval_since_the_last_start_is_over(store: Store) -> None:
    store.may_end.set()
    now = 0.0
    thread = StoringThread(store, interval_seconds=20, clock=lambda: now)
    with closing(thread):
        now = 100.0
        thread.start(BEFORE, BATCH)
        assert thread.finish(no_heartbeat) == AFTER
        assert not thread.is_free_within(0)
        now = 119.0
        assert not thread.is_free_within(0)
        now = 120.0
        assert thread.is_free_within(0)


@pytest.mark.parametrize("end", [StoringThread.finish, StoringThread.discard])
def test_heartbeats_are_sent_while_a_batch_is_waited_for(
    end: Callable[[StoringThread, Callable[[], object]], Progress | None],
    thread: StoringThread,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storing, "HEARTBEAT_SECONDS", 0.01)
    sent: list[int] = []

    def heartbeat() -> None:
        sent.append(len(sent))
        if len(sent) == 3:
            store.may_end.set()

    thread.start(BEFORE, BATCH)
    assert end(thread, heartbeat) == AFTER
    assert len(sent) >= 3


def test_it_is_done_when_its_batch_is_stored_and_has_its_partitions_until_then(
    thread: StoringThread, store: Store
) -> None:
    assert thread.is_done_or_has([2])
    thread.start(BEFORE, ParsedBatch(Batch({}, {1: 5, 3: 0}), NATIVE_READING))
    assert not thread.is_done_or_has([2])
    assert thread.is_done_or_has([2, 3])
    store.may_end.set()
    assert thread.is_free_within(60)
    assert thread.is_done_or_has([2])


def test_finish_raises_what_storing_raised(thread: StoringThread, store: Store) -> None:
    store.error = OSError("disk full")
    store.may_end.set()
    thread.start(BEFORE, BATCH)
    with pytest.raises(OSError, match="disk full"):
        thread.finish(no_heartbeat)
    assert thread.finish(no_heartbeat) is None


class Records(dict[int, Sequence[Record]]):
    """Records that a weak reference can point to."""


def test_a_batch_that_could_not_be_stored_is_freed_without_the_garbage_collector(
    thread: StoringThread, store: Store
) -> None:
    store.error = OSError("disk full")
    store.may_end.set()
    records = Records()
    reference = weakref.ref(records)
    gc.disable()
    try:
        thread.start(BEFORE, ParsedBatch(Batch(records, {}), NATIVE_READING))
        del records
        with suppress(OSError):
            thread.finish(no_heartbeat)
        store.error = None  # its traceback has the batch, too
        thread.close()
        assert reference() is None
    finally:
        gc.enable()


def test_a_discarded_batch_that_was_stored_still_counts(
    thread: StoringThread, store: Store
) -> None:
    store.may_end.set()
    thread.start(BEFORE, BATCH)
    assert thread.discard(no_heartbeat) == AFTER
    assert thread.discard(no_heartbeat) is None


def test_a_discarded_batch_is_waited_for_and_its_error_ignored(
    thread: StoringThread, store: Store
) -> None:
    store.error = OSError("disk full")
    store.may_end.set()
    thread.start(BEFORE, BATCH)
    assert thread.discard(no_heartbeat) is None
    assert thread.finish(no_heartbeat) is None


@pytest.mark.parametrize("end", [StoringThread.finish, StoringThread.discard])
def test_it_is_unhealthy_only_from_a_failure_until_a_batch_was_stored(
    end: Callable[[StoringThread, Callable[[], object]], Progress | None],
    thread: StoringThread,
    store: Store,
) -> None:
    """The second thread may store its first batch hours after the first thread."""
    store.may_end.set()
    thread.start(BEFORE, BATCH)
    assert thread.is_healthy
    end(thread, no_heartbeat)
    store.error = OSError("disk full")
    thread.start(BEFORE, BATCH)
    assert thread.is_healthy
    with suppress(OSError):
        end(thread, no_heartbeat)
    store.error = None
    thread.start(BEFORE, BATCH)
    assert not thread.is_healthy
    end(thread, no_heartbeat)
    thread.start(BEFORE, BATCH)
    assert thread.is_healthy


def test_a_closed_thread_still_gives_the_result_of_its_last_batch(
    thread: StoringThread, store: Store
) -> None:
    store.may_end.set()
    thread.start(BEFORE, BATCH)
    thread.close()
    assert thread.finish(no_heartbeat) == AFTER
