"""The consumer's progress: in its metrics, and in log lines every few seconds and at the end."""

from collections.abc import Callable

from clickstream.clients.postgres import Cursor, only_row
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch
from clickstream.consumer.counters import Counters
from clickstream.consumer.database import Database
from clickstream.consumer.interval import Interval
from clickstream.consumer.metrics import Metrics
from clickstream.consumer.other_partitions import OtherPartitions
from clickstream.consumer.progress_log import ProgressLog, SearchBacklog
from clickstream.consumer.topic import Topic
from clickstream.storage.watermark import pipeline_watermark

INTERVAL_SECONDS = 10.0
COUNT_OPEN_SESSIONS = "SELECT count(*) FROM session_metrics WHERE closed_at IS NULL"


class Monitor:
    """Sets the metrics, and logs the progress every INTERVAL_SECONDS, less often without records.

    Warns if records were rejected.

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
        self._log = ProgressLog()
        self._other_partitions = OtherPartitions()

    def observe(
        self, topic: Topic, assignment: Assignment, batch: Batch, *, is_silent: bool
    ) -> None:
        """Set the metrics, and log a progress line if the interval is over.

        batch: the next one to store. is_silent: Kafka does not answer, so the lag is unknown.
        """
        self._take_counters()
        high_watermarks = topic.high_watermarks()
        if is_silent:
            self._metrics.progress.forget_partitions()
        else:
            self._metrics.progress.observe_lag(assignment, high_watermarks, batch)
        if self._interval.is_over:
            ends = self._other_partitions.end_offsets(topic, assignment)
            self._report(assignment, assignment.lag(high_watermarks), ends)

    def forget_partitions(self) -> None:
        """Remove the metrics of the partitions: their owners change, or a server failed."""
        self._metrics.progress.forget_partitions()

    def report_total(self) -> None:
        """Log the number of all records by outcome: a warning if some were rejected."""
        self._take_counters()
        self._log.log_total()

    def _take_counters(self) -> None:
        """Add the counters since the last call to the metrics, the next line and the total."""
        counters, self._database.counters = self._database.counters, Counters()
        self._metrics.outcomes.add(counters)
        self._log.add(counters)

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
        if self._log.is_due:
            self._log.log_progress(
                open_sessions=open_sessions,
                visitors=len(self._database.cache),
                lag=lag,
                backlog=backlog,
            )
