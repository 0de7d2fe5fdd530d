"""The consumer's loop: read, store, close, report; and what it does when something fails."""

import logging
import os
import random
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NoReturn

from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
)

from clickstream.backoff import Backoff
from clickstream.clients.postgres import Connection, Cursor, connect, only_row
from clickstream.consumer import batch
from clickstream.consumer.batch import Assignment, Batch
from clickstream.consumer.co_partitioning import CoPartitioning
from clickstream.consumer.drain import Drain
from clickstream.consumer.failures import OUTAGES, incurable, sentence
from clickstream.consumer.monitor import Progress
from clickstream.consumer.session_cache import SessionCache
from clickstream.consumer.stream import Stream
from clickstream.errors import first_line
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage import positions, stored_rule, watermark
from clickstream.storage.positions import FencedError, PartitionProgress

logger = logging.getLogger(__name__)

APPLICATION = "clickstream consumer"
SWEEP_SECONDS = 5.0
FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 5.0
# After this time a heartbeat has told whether the group still counts on this consumer. One that
# was frozen would otherwise take its partitions back from those who took them over.
HEARTBEAT_SECONDS = 2.5

# Later than that the group may never agree; Kafka gives a member that is gone 30 s.
AGREEMENT_SECONDS = 45.0

# So long a batch may be stored before the group is told that this consumer lives.
STAY_SECONDS = 5.0

# The second line against a frozen consumer; the first is that the next owner ends its backend.
PREPARE = """
    SET idle_in_transaction_session_timeout = '60s';
    SET cursor_tuple_fraction = 1
"""
COUNT_OPEN = "SELECT count(*) FROM session_metrics WHERE closed_at IS NULL"


class Consumer:
    """Reads the topic until it is stopped or, with a drain, until what was there is stored.

    report_also: what else the line of progress is to say.
    """

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        drain: Drain | None,
        chance: random.Random,
        *,
        report_also: Callable[[Cursor], str] | None = None,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._drain = drain
        self._backoff = Backoff(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, chance)
        self._report_also = report_also
        self._drained = False
        self._cache = SessionCache(stored_rule.rule_of(settings))
        self._stream: Stream | None = None
        self._connection: Connection | None = None
        self._assignment: Assignment | None = None
        self._storing: Future[Assignment] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._failures = 0
        self._swept = monotonic()
        self._waiting_for_topic = False
        self._unsettled_since: float | None = None
        self._sharing = CoPartitioning()
        self._suspects: list[int] = []
        self._progress = Progress(monotonic())

    def run(self) -> None:
        """Work until the end. Raises UserError for what no waiting cures."""
        try:
            while not (self._stop.requested or self._drained):
                self._try_step()
        finally:
            self._close()

    def _try_step(self) -> None:
        """One step. Any failure of a server means: start over from what is stored."""
        try:
            self._step()
            if self._storing is None:
                self._failures = 0
        except FencedError as error:
            logger.warning("starting over from what is stored: %s", error)
            self._start_over()
            self._pause(HEARTBEAT_SECONDS)
        except OUTAGES as error:
            cure = incurable(error, self._settings)
            if cure:
                raise cure from None
            self._back_off(error)

    def _step(self) -> None:
        """Read a batch while the one before it is stored; then hand it over."""
        stream = self._open_stream()
        if stream.changed and stream.settled:
            self._finish_storing()
            self._assignment = self._take(stream)
        read = self._read(stream)
        self._finish_storing()
        if read is None or stream.changed or self._assignment is None:
            self._watch_for_topic(stream)
            self._watch_group(stream, monotonic())
            return
        self._refuse_other_log(stream, self._assignment)
        self._sharing.watch(self._assignment, len(stream.partitions()), read)
        self._sweep_and_report(stream, self._assignment)
        if self._drain and self._drain.done(stream, self._assignment, self._connect()):
            self._sweep(stream, self._assignment)
            logger.info("everything that was in topic %s is stored", self._settings.kafka_topic)
            self._drained = True
        elif read.moves(self._assignment):
            self._storing = self._thread.submit(self._store, self._assignment, read)

    def _read(self, stream: Stream) -> Batch | None:
        """The next batch; a partition that ends before the position is a log of its own."""
        try:
            return stream.read()
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            self._finish_storing()
            shorter = stream.shorter_partitions(error)
            if self._assignment is None or not shorter:
                raise
            self._forget_log(self._assignment, shorter)

    def _finish_storing(self) -> None:
        """Wait for the batch that is being stored, and raise what it raised."""
        if self._storing is not None:
            while not wait([self._storing], STAY_SECONDS).done:
                if self._stream is not None:
                    self._stream.stay()
            storing, self._storing = self._storing, None
            self._assignment = storing.result()
            self._failures = 0
            if self._stream is not None:
                self._stream.report_progress(
                    {
                        partition: owned.position
                        for partition, owned in self._assignment.partitions.items()
                    }
                )

    def _open_stream(self) -> Stream:
        if self._stream is None:
            self._stream = Stream(self._settings)
        return self._stream

    def _connect(self) -> Connection:
        if self._connection is None:
            connection = connect(self._settings, application=APPLICATION)
            with connection, connection.cursor() as cursor:
                cursor.execute(PREPARE)
            self._connection = connection
        return self._connection

    def _take(self, stream: Stream) -> Assignment | None:
        """Take the partitions assigned: a new epoch, the stored positions, an empty cache."""
        self._cache.clear()
        if not stream.partitions():
            stream.seek({})
            return None
        beginning_offsets = stream.beginning_offsets()
        connection = self._connect()
        with connection, connection.cursor() as cursor:
            version = stored_rule.adopt(cursor, self._cache.rule)
        topic = stream.topic_identity()
        owner = f"{socket.gethostname()}, process {os.getpid()}"
        group = self._settings.kafka_group_id
        partitions = positions.take(connection, topic, group, owner, beginning_offsets)
        stream.seek({partition: taken.position for partition, taken in partitions.items()})
        logger.info("reading partitions %s of topic %s", sorted(partitions), topic.name)
        return Assignment(topic, partitions, version)

    def _watch_for_topic(self, stream: Stream) -> None:
        missing = stream.settled and not stream.partitions()
        if missing and not self._waiting_for_topic:
            logger.warning(
                "topic %s does not exist yet: waiting for it (python create_schema.py creates it)",
                self._settings.kafka_topic,
            )
        self._waiting_for_topic = missing

    def _watch_group(self, stream: Stream, now: float) -> None:
        """Say it where the group does not agree on who reads what."""
        if stream.settled:
            self._unsettled_since = None
        elif self._unsettled_since is None:
            self._unsettled_since = now
        elif now - self._unsettled_since > AGREEMENT_SECONDS:
            self._unsettled_since = now
            logger.warning(
                "consumer group %s does not agree on who reads what: a member that is gone may "
                "hold it up; if no other consumer runs, set another KAFKA_GROUP_ID (positions are "
                "in PostgreSQL: nothing is lost or read twice)",
                self._settings.kafka_group_id,
            )

    def _refuse_other_log(self, stream: Stream, assignment: Assignment) -> None:
        """Notice a topic that was recreated, before anything of it is stored under the old one."""
        if stream.topic_identity() != assignment.topic:
            raise FencedError(f"topic {assignment.topic.name} was recreated")
        marks = stream.high_watermarks()
        behind = [
            n
            for n, owned in assignment.partitions.items()
            if marks.get(n, owned.position) < owned.position
        ]
        # A new leader may lag for a moment; what ends too early twice in a row became shorter.
        suspects, self._suspects = self._suspects, behind
        if behind and behind == suspects:
            self._forget_log(assignment, behind)
        if behind:
            raise FencedError(f"partitions {behind} end before what was read of them")

    def _forget_log(self, assignment: Assignment, partitions: list[int]) -> NoReturn:
        """Read partitions from their beginnings from now on."""
        connection = self._connect()
        with connection, connection.cursor() as cursor:
            positions.forget_log(cursor, assignment.topic.name, partitions)
        raise FencedError(
            f"partitions {partitions} of topic {assignment.topic.name} became shorter"
        )

    def _store(self, assignment: Assignment, read: Batch) -> Assignment:
        """Store a batch and return the assignment after it, while the next batch is being read."""
        progress = batch.store(
            self._connect(),
            assignment,
            read,
            self._cache,
            now=datetime.now(UTC),
            max_future=timedelta(seconds=self._settings.max_future_seconds),
        )
        self._progress.add(progress.values())
        return _moved(assignment, progress)

    def _sweep_and_report(self, stream: Stream, assignment: Assignment) -> None:
        now = monotonic()
        if now - self._swept >= SWEEP_SECONDS:
            self._sweep(stream, assignment)
            self._swept = now
        if self._progress.due(now):
            self._report(stream, assignment, now)

    def _sweep(self, stream: Stream, assignment: Assignment) -> None:
        """Close the sessions that the watermark has passed, and let them leave the cache."""
        marks = stream.high_watermarks()
        caught_up = [
            n for n, owned in assignment.partitions.items() if marks.get(n) == owned.position
        ]
        connection = self._connect()
        with connection, connection.cursor() as cursor:
            batch.check_assignment(cursor, assignment)
            watermark.mark_caught_up(cursor, assignment.topic.name, caught_up)
            mark = watermark.pipeline_watermark(cursor, assignment.topic)
            if mark is None:
                return
            self._progress.closed += watermark.close_sessions(
                cursor, mark, self._cache.rule.timeout
            )
        self._cache.forget(mark)

    def _report(self, stream: Stream, assignment: Assignment, now: float) -> None:
        marks = stream.high_watermarks()
        lag = sum(
            max(0, marks.get(n, 0) - owned.position) for n, owned in assignment.partitions.items()
        )
        connection = self._connect()
        with connection, connection.cursor() as cursor:
            cursor.execute(COUNT_OPEN)
            (open_sessions,) = only_row(cursor)
            also = f"; {self._report_also(cursor)}" if self._report_also else ""
        cached = len(self._cache)
        self._progress.report(now, lag=lag, open_sessions=open_sessions, cached=cached, also=also)

    def _back_off(self, error: Exception) -> None:
        self._failures += 1
        seconds = self._backoff.seconds(self._failures)
        logger.warning("%s; trying again in %.1f s", sentence(error, self._settings), seconds)
        self._start_over()
        if isinstance(error, CorruptRecordError):
            self._close_stream()  # kafka-python never leaves a batch that it could not read
        self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        """Let time pass, as a member of the group where there is one."""
        deadline = monotonic() + seconds
        if self._stream is not None:
            try:
                self._stream.wait(seconds)
            except KafkaError:
                self._stop.wait(deadline - monotonic())
        else:
            self._stop.wait(seconds)

    def _start_over(self) -> None:
        """Forget all but the membership of the group."""
        if self._storing is not None:
            wait([self._storing])
            self._storing = None
        self._cache.clear()
        self._assignment = None
        if self._stream is not None:
            self._stream.mark_changed()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _close(self) -> None:
        """Let the batch that is being stored come to its end; then leave."""
        self._thread.shutdown()
        try:
            self._finish_storing()
        except (FencedError, *OUTAGES) as error:
            logger.warning("the last batch will be read again: %s", first_line(error))
        if self._connection is not None:
            self._connection.close()
        self._close_stream()

    def _close_stream(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            try:
                stream.close()
            except KafkaError as error:
                logger.warning("could not leave the consumer group: %s", first_line(error))


def _moved(assignment: Assignment, progress: Mapping[int, PartitionProgress]) -> Assignment:
    """The assignment after a batch was stored."""
    partitions = {
        partition: replace(
            taken,
            position=progress[partition].position,
            watermark=progress[partition].watermark or taken.watermark,
        )
        for partition, taken in assignment.partitions.items()
    }
    return replace(assignment, partitions=partitions)
