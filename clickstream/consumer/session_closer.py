"""Closing the sessions that the watermark has passed."""

from collections.abc import Collection, Sequence

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import ParsedBatch
from clickstream.consumer.database import Database
from clickstream.consumer.interval import Interval
from clickstream.consumer.transaction import check_assignment
from clickstream.storage import watermark

INTERVAL_SECONDS = 5.0


class SessionCloser:
    """Closes sessions every INTERVAL_SECONDS, and evicts them from the cache.

    It uses the connection of the first storing thread; the others may store batches meanwhile.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._interval = Interval(INTERVAL_SECONDS)

    @property
    def is_due(self) -> bool:
        """True if it is time to close sessions."""
        return self._interval.is_over

    def close_all(self, caught_up: Collection[int], assignment: Assignment) -> None:
        """Close all sessions that have ended, in as many transactions as needed.

        Raises FencedError if another consumer took over. No batch may be stored meanwhile.
        """
        while self.close_sessions(caught_up, assignment, []) == watermark.MAX_CLOSED_SESSIONS:
            pass

    def close_sessions(
        self,
        caught_up: Collection[int],
        assignment: Assignment,
        batches: Sequence[ParsedBatch | None],
    ) -> int:
        """Close sessions that have ended, at most MAX_CLOSED_SESSIONS; return how many.

        caught_up: the partitions that were read to their ends. batches: what each storing thread
        stores now; nothing in the first, and nothing of these partitions. A thread holds the locks
        of its partitions, and owns its visitors in the cache.
        Raises FencedError if another consumer took over.
        """
        self._interval.restart()
        database = self._database
        database.use_connections(n for n, batch in enumerate(batches) if batch is None)
        stored_now = [batch for batch in batches if batch is not None]
        locked = {partition for each in stored_now for partition in each.read.positions}
        free = assignment.partitions.keys() - locked
        with database.transaction() as cursor:
            check_assignment(cursor, assignment, free)
            watermark.mark_caught_up(cursor, assignment.topic.name, caught_up)
            reached = watermark.pipeline_watermark(cursor, assignment.topic)
            if reached is None:
                return 0
            timeout = database.cache.rule.timeout
            closed = watermark.close_sessions(cursor, reached, timeout)
        database.counters.closed += closed
        in_use = frozenset[str]().union(*(each.visitors for each in stored_now))
        database.cache.evict(reached, in_use)
        return closed
