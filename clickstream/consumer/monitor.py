"""The consumer's progress: in its metrics, and in log lines every few seconds and at the end."""

import logging
from collections.abc import Callable
from typing import Protocol

from clickstream.clients.postgres import Cursor, only_row
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch
from clickstream.consumer.co_partitioning import CoPartitioning
from clickstream.consumer.counters import Counters
from clickstream.consumer.database import Database
from clickstream.consumer.interval import Interval
from clickstream.consumer.metrics import Metrics
from clickstream.consumer.other_partitions import OtherPartitions
from clickstream.consumer.topic import Topic
from clickstream.storage.watermark import pipeline_watermark

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
# Without records a line is logged once in this time.
IDLE_INTERVAL_SECONDS = 60.0
LIST_REJECTED = "python -m clickstream rejected list"
COUNT_OPEN_SESSIONS = "SELECT count(*) FROM session_metrics WHERE closed_at IS NULL"


class SearchBacklog(Protocol):
    """Rows that are not indexed yet; the text also gives the age of the oldest."""

    @property
    def rows(self) -> int: ...


class Monitor:
    """Sets the metrics; logs the progress every INTERVAL_SECONDS, idle every IDLE_INTERVAL_SECONDS.

    Warns if records were rejected, and if visitors are not co-partitioned.

    read_backlog: returns the search backlog; None if search is off.
    """

    def __init__(
        self,
        database: Database,
        read_backlog: Callable[[Cursor], SearchBacklog] | None,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._read_backlog = read_backlog
        self._metrics = metrics
        self._interval = Interval(INTERVAL_SECONDS)
        self._idle_interval = Interval(IDLE_INTERVAL_SECONDS)
        self._since_line = Counters()
        self._total = Counters()
        self._co_partitioning = CoPartitioning()
        self._other_partitions = OtherPartitions()

    def observe(self, topic: Topic, assignment: Assignment, batch: Batch) -> None:
        """Check the keys of a batch; set the metrics; log a progress line if the interval is over.

        batch: the next one to store.
        """
        self._co_partitioning.check(assignment, len(topic.partitions()), batch)
        self._take_counters()
        high_watermarks = topic.high_watermarks()
        self._metrics.progress.observe_lag(assignment, high_watermarks, batch)
        if self._interval.is_over:
            ends = self._other_partitions.end_offsets(topic, assignment)
            self._report(assignment, assignment.lag(high_watermarks), ends)

    def forget_partitions(self) -> None:
        """Remove the metrics of the partitions, because their owners change."""
        self._metrics.progress.forget_partitions()

    def report_total(self) -> None:
        """Log the number of all records by outcome: a warning if some were rejected."""
        self._take_counters()
        level = logging.WARNING if self._total.rejected else logging.INFO
        also = f": {LIST_REJECTED}" if self._total.rejected else ""
        fields = self._total.log_fields()
        logger.log(level, "%s%s", self._total, also, extra={"fields": fields})

    def _take_counters(self) -> None:
        """Add the counters since the last call to the metrics, the next line and the total."""
        counters, self._database.counters = self._database.counters, Counters()
        self._metrics.outcomes.add(counters)
        self._since_line.merge(counters)
        self._total.merge(counters)

    def _report(self, assignment: Assignment, lag: int, other_ends: dict[int, int]) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(COUNT_OPEN_SESSIONS)
            (open_sessions,) = only_row(cursor)
            watermark = pipeline_watermark(cursor, assignment.topic)
            lag += self._other_partitions.lag(cursor, assignment, other_ends)
            backlog = self._read_backlog(cursor) if self._read_backlog else None
        self._metrics.progress.observe_database(
            open_sessions, watermark, backlog.rows if backlog else 0
        )
        self._interval.restart()
        if self._since_line.records or self._idle_interval.is_over:
            self._log_progress(open_sessions, lag, backlog)

    def _log_progress(self, open_sessions: int, lag: int, backlog: SearchBacklog | None) -> None:
        seconds = max(self._idle_interval.restart(), 0.001)
        counters, self._since_line = self._since_line, Counters()
        visitors = len(self._database.cache)
        fields = {
            **counters.log_fields(),
            "seconds": round(seconds, 3),
            "rate": round(counters.records / seconds, 3),
            "sessions_open": open_sessions,
            "visitors_in_memory": visitors,
            "lag": lag,
            "search_backlog": backlog.rows if backlog else None,
        }
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
            visitors,
            lag,
            f"; search index {backlog}" if backlog else "",
            extra={"fields": fields},
        )
        if counters.rejected:
            logger.warning(
                "%d of %d records were rejected (%s): %s",
                counters.rejected,
                counters.records,
                counters.reasons,
                LIST_REJECTED,
                extra={"fields": counters.log_fields()},
            )
