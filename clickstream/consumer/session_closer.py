"""Closing the sessions that the watermark has passed."""

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.database import Database
from clickstream.consumer.interval import Interval
from clickstream.consumer.topic import Topic
from clickstream.consumer.transaction import check_assignment
from clickstream.storage import watermark

INTERVAL_SECONDS = 5.0


class SessionCloser:
    """Closes sessions every INTERVAL_SECONDS, and evicts them from the cache.

    Close sessions while no batch is being stored.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._interval = Interval(INTERVAL_SECONDS)

    @property
    def is_due(self) -> bool:
        """True if it is time to close sessions."""
        return self._interval.is_over

    def close_all(self, topic: Topic, assignment: Assignment) -> None:
        """Close all sessions that have ended, in as many transactions as needed.

        Raises FencedError if another consumer took over.
        """
        while self.close_sessions(topic, assignment) == watermark.MAX_CLOSED_SESSIONS:
            pass

    def close_sessions(self, topic: Topic, assignment: Assignment) -> int:
        """Close sessions that have ended, at most MAX_CLOSED_SESSIONS; return how many.

        Raises FencedError if another consumer took over.
        """
        self._interval.restart()
        database = self._database
        caught_up = assignment.caught_up(topic.high_watermarks())
        with database.transaction() as cursor:
            check_assignment(cursor, assignment, assignment.partitions)
            watermark.mark_caught_up(cursor, assignment.topic.name, caught_up)
            reached = watermark.pipeline_watermark(cursor, assignment.topic)
            if reached is None:
                return 0
            timeout = database.cache.rule.timeout
            closed = watermark.close_sessions(cursor, reached, timeout)
        database.counters.closed += closed
        database.cache.evict(reached)
        return closed
