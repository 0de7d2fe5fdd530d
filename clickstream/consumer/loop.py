"""The consumer's loop: acquire partitions, read, store, close sessions, report.

While a storing thread stores a batch, the loop reads the next one, which is stored as soon as the
first one is committed. If that one is large, the consumer is behind: it divides the batch between
all storing threads. storing.py says which thread owns what.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial

from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from clickstream.clients.postgres import Cursor
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch, ParsedBatch
from clickstream.consumer.database import Database
from clickstream.consumer.drain import Drain
from clickstream.consumer.failures import OUTAGES
from clickstream.consumer.gone_members import GoneMembers
from clickstream.consumer.interval import Interval
from clickstream.consumer.metrics import Metrics
from clickstream.consumer.monitor import Monitor
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.consumer.progress_log import SearchBacklog
from clickstream.consumer.session_closer import SessionCloser
from clickstream.consumer.shares import STORING_THREADS
from clickstream.consumer.storing import HEARTBEAT_SECONDS, StoringThread
from clickstream.consumer.stream import Stream
from clickstream.consumer.topic_check import TopicCheck
from clickstream.errors import first_line
from clickstream.fail_points import FailPoint, reach
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage.positions import FencedError

logger = logging.getLogger(__name__)


class Loop:
    """The steps from Kafka to PostgreSQL; consumer.py says what happens if one fails.

    stop, new_user_agents: see Database. now: returns the current time in UTC. read_backlog: returns
    the search backlog; None if search is off.
    """

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        drain: Drain | None,
        now: Callable[[], datetime],
        read_backlog: Callable[[Cursor], SearchBacklog] | None,
        metrics: Metrics,
        new_user_agents: NewUserAgents,
    ) -> None:
        self._drain = drain
        self._database = Database(settings, stop, now, new_user_agents)
        store = metrics.outcomes.timed(self._database.store)
        interval_seconds = settings.consumer_batch_ms / 1000
        self._storing = [
            StoringThread(partial(store, number), interval_seconds)
            for number in range(STORING_THREADS)
        ]
        self._assignment: Assignment | None = None
        self._gone_members = GoneMembers(settings, self._database)
        self._topic_check = TopicCheck(self._database)
        self._closer = SessionCloser(self._database)
        self._monitor = Monitor(self._database, read_backlog, metrics)

    @property
    def is_healthy(self) -> bool:
        """True if the last batch was stored, or if there is none to store."""
        return all(thread.is_healthy for thread in self._storing)

    def prepare_join(self) -> None:
        """Remove members from the group that would delay its rebalance.

        Raises OUTAGES, and UserError if the tables are of another version.
        """
        self._gone_members.remove_before_join()

    def step(self, stream: Stream) -> bool:
        """Acquire partitions, read a batch, close sessions, report, and begin to store the batch.

        The previous batch is stored while this one is read. Return True if this one is large.
        Raises FencedError if another consumer took over or the topic was recreated, and OUTAGES.
        """
        if stream.has_new_assignment:
            self._acquire(stream)
        batch = self._read(stream)
        is_behind = batch is not None and batch.is_large
        self._finish(stream, self._storing[:1] if is_behind else self._storing)
        if self._assignment is None or batch is None or stream.changed:
            return is_behind
        stream.offset_commits.commit_if_due(self._assignment.positions)
        self._gone_members.remove_if_due(stream.topic, self._assignment)
        self._topic_check.check(stream.topic, self._assignment)
        caught_up = self._assignment.caught_up(stream.topic.high_watermarks())
        if self._closer.is_due:
            self._finish(stream, [each for each in self._storing if each.is_done_or_has(caught_up)])
            batches = [thread.batch for thread in self._storing]
            self._closer.close_sessions(caught_up, self._assignment, batches)
        self._monitor.observe(stream.topic, self._assignment, batch, is_silent=stream.is_silent)
        if self._drain and self._drain.is_reached(stream.topic, self._assignment, self._database):
            self._finish(stream, self._storing)
            self._closer.close_all(caught_up, self._assignment)
            self._drain.finish(stream.topic.name)
        else:
            self._store(stream, batch)
        return is_behind

    def _acquire(self, stream: Stream) -> None:
        """Acquire the partitions that the group assigned, and seek to their stored positions."""
        self._finish(stream, self._storing)
        self._monitor.forget_partitions()
        if not stream.topic.partitions():
            stream.seek({})
            self._assignment = None
            return
        beginnings = stream.topic.beginning_offsets()
        topic, member, before = stream.topic.identity(), stream.member_id, self._assignment
        assignment = self._database.acquire(topic, beginnings, member, before)
        reach(FailPoint.ACQUIRED)
        stream.seek(assignment.positions)
        logger.info(
            "reading partitions %s of topic %s", sorted(assignment.partitions), stream.topic.name
        )
        self._assignment = assignment

    def _read(self, stream: Stream) -> Batch | None:
        """Read the next batch. A partition that ends before its position is reset and reread."""
        try:
            return stream.read(self._storing[0].is_free_within)
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            self._finish(stream, self._storing)
            shorter = stream.topic.shorter_partitions(error)
            if self._assignment is None or not shorter:
                raise
            self._topic_check.read_again(self._assignment, shorter)
            return None

    def _store(self, stream: Stream, batch: Batch) -> None:
        """Begin to store the shares of a batch, each by its storing thread."""
        for thread, share in zip(self._storing, batch.shares(), strict=False):
            if self._assignment is not None and share.moves(self._assignment):
                parsed = parse(share, self._database, stream)
                before = [
                    other for other in self._storing if other is thread or other.delays(parsed)
                ]
                self._finish(stream, before)
                thread.start(self._assignment, parsed)

    def _finish(self, stream: Stream, threads: Iterable[StoringThread]) -> None:
        """Wait for the batches that threads store, and continue with their positions."""
        for thread in threads:
            progress = thread.finish(stream.heartbeat)
            if progress is not None and self._assignment is not None:
                self._assignment = self._assignment.advance(progress)
                self._database.count(progress)

    def start_over(self, stream: Stream | None) -> None:
        """Forget everything that is not stored.

        stream: to stay a member of the group until no batch is being stored; None before the join.
        """
        for thread in self._storing:
            if progress := thread.discard(partial(try_heartbeat, stream)):
                self._database.count(progress)
        self._assignment = None
        self._database.reset()

    def report_total(self) -> None:
        """Log the number of all records by outcome; call it after `close`."""
        self._monitor.report_total()

    def close(self, stream: Stream | None) -> None:
        """Wait for the batches that are being stored, and close the connections to PostgreSQL."""
        for thread in self._storing:
            thread.close()
        try:
            if stream is not None:
                self._finish(stream, self._storing)
                self._database.release()
                if self._assignment is not None and not stream.changed:
                    stream.offset_commits.commit(self._assignment.positions)
        except (FencedError, *OUTAGES) as error:
            logger.warning("the last batch will be read again: %s", first_line(error))
        self.start_over(stream)


def parse(batch: Batch, database: Database, stream: Stream) -> ParsedBatch:
    """Parse a batch. If that takes long, stay a member of the group, as `finish` does."""
    interval = Interval(HEARTBEAT_SECONDS)

    def pause() -> None:
        if interval.is_over:
            stream.heartbeat()
            interval.restart()

    return database.parse(batch, pause)


def try_heartbeat(stream: Stream | None) -> None:
    """Stay a member of the group, if it was joined and Kafka can be reached."""
    if stream is not None:
        with suppress(KafkaError):
            stream.heartbeat()
