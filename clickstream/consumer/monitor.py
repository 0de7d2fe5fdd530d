"""The consumer's log lines about its progress, every few seconds and at the end."""

import logging
from collections.abc import Callable

from clickstream.clients.postgres import Cursor, only_row
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch
from clickstream.consumer.co_partitioning import CoPartitioning
from clickstream.consumer.counters import Counters
from clickstream.consumer.database import Database
from clickstream.consumer.interval import Interval
from clickstream.consumer.topic import Topic

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
LIST_REJECTED = "python -m clickstream rejected list"
COUNT_OPEN_SESSIONS = "SELECT count(*) FROM session_metrics WHERE closed_at IS NULL"


class Monitor:
    """Logs the progress every INTERVAL_SECONDS, with a warning if records were rejected.

    Also warns if visitors are not co-partitioned.

    report_also: returns text for the end of a progress line.
    """

    def __init__(self, database: Database, report_also: Callable[[Cursor], str] | None) -> None:
        self._database = database
        self._report_also = report_also
        self._interval = Interval(INTERVAL_SECONDS)
        self._total = Counters()
        self._co_partitioning = CoPartitioning()

    def observe(self, topic: Topic, assignment: Assignment, batch: Batch) -> None:
        """Check the keys of a batch; log a progress line if the interval is over."""
        self._co_partitioning.check(assignment, len(topic.partitions()), batch)
        if self._interval.is_over:
            self._report(assignment.lag(topic.high_watermarks()))

    def report_total(self) -> None:
        """Log the number of all records by outcome: a warning if some were rejected."""
        self._take_counters()
        level = logging.WARNING if self._total.rejected else logging.INFO
        also = f": {LIST_REJECTED}" if self._total.rejected else ""
        logger.log(level, "%s%s", self._total, also)

    def _take_counters(self) -> Counters:
        """Return the counters since the last call, and add them to the total."""
        counters, self._database.counters = self._database.counters, Counters()
        self._total.merge(counters)
        return counters

    def _report(self, lag: int) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(COUNT_OPEN_SESSIONS)
            (open_sessions,) = only_row(cursor)
            also = f"; {self._report_also(cursor)}" if self._report_also else ""
        seconds = max(self._interval.restart(), 0.001)
        counters = self._take_counters()
        logger.info(
            "%d records in %.0f s (%.0f/s): %d duplicates, %d late, %d rejected; "
            "%d sessions closed, %d open (%d visitors in memory); lag %d%s",
            counters.records,
            seconds,
            counters.records / seconds,
            counters.duplicates,
            counters.late,
            counters.rejected,
            counters.closed,
            open_sessions,
            len(self._database.cache),
            lag,
            also,
        )
        if counters.rejected:
            logger.warning(
                "%d of %d records were rejected (%s): %s",
                counters.rejected,
                counters.records,
                counters.reasons,
                LIST_REJECTED,
            )
