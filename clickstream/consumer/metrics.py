"""The consumer's metrics for Prometheus: records by outcome, lag, watermark and search backlog."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ParamSpec, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch
from clickstream.consumer.counters import Counters

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class OutcomeMetrics:
    """Counters of the records that were stored, and the duration of their transactions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter(
            "clickstream_records",
            "Records that were read and are stored, duplicates, rejected or removed",
            ["partition"],
            registry=registry,
        )
        self._rejected = Counter(
            "clickstream_rejected", "Rejected records", ["reason"], registry=registry
        )
        self._duplicates = Counter(
            "clickstream_duplicates", "Records whose event was stored before", registry=registry
        )
        self._removed = Counter(
            "clickstream_removed",
            "Records of which nothing is stored, because it was removed on purpose",
            registry=registry,
        )
        self._late = Counter(
            "clickstream_late", "Events far behind the watermark", registry=registry
        )
        self._transaction_seconds = Histogram(
            "clickstream_transaction_seconds",
            "Duration of storing a batch in one transaction",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )

    def timed(self, store: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return a function that stores a batch and observes the duration, also of a failure."""

        def store_and_observe(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            with self._transaction_seconds.time():
                return store(*args, **kwargs)

        return store_and_observe

    def add(self, counters: Counters) -> None:
        """Add the counts of batches that were committed."""
        for partition, number in counters.records_by_partition.items():
            self._records.labels(partition).inc(number)
        for reason, number in counters.rejected_by_reason.items():
            self._rejected.labels(reason).inc(number)
        self._duplicates.inc(counters.duplicates)
        self._removed.inc(counters.removed)
        self._late.inc(counters.late)


class ProgressMetrics:
    """Gauges of the lag, the watermark, the open sessions and the search backlog.

    The lag is left out while it is unknown: PostgreSQL or Kafka does not answer, or the partitions
    are being assigned. The other gauges keep the values that were last read from PostgreSQL.

    now: returns the current time in UTC.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lag_records = Gauge(
            "clickstream_lag_records",
            "Records of an owned partition that are not stored",
            ["partition"],
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "clickstream_lag_seconds",
            "Age of the oldest record of an owned partition that is not stored",
            ["partition"],
            registry=registry,
        )
        self._watermark_lag_seconds = Gauge(
            "clickstream_watermark_lag_seconds",
            "Time from the watermark of all partitions to now",
            registry=registry,
        )
        self._watermark: datetime | None = None
        self._watermark_lag_seconds.set_function(self._watermark_lag)
        self._open_sessions = Gauge(
            "clickstream_open_sessions", "Sessions in PostgreSQL that are open", registry=registry
        )
        self._search_backlog = Gauge(
            "clickstream_search_backlog",
            "Rows in PostgreSQL that are not indexed yet, counted up to a limit",
            registry=registry,
        )

    def observe_lag(
        self, assignment: Assignment, high_watermarks: Mapping[int, int], batch: Batch
    ) -> None:
        """Set the lag of each partition. batch: the next records, which are not stored yet."""
        now = self._now()
        for partition, position in assignment.positions.items():
            if partition not in high_watermarks:
                continue
            number = max(0, high_watermarks[partition] - position)
            self._lag_records.labels(partition).set(number)
            records = batch.records.get(partition)
            oldest = (records[0].timestamp if records else None) or 0
            if not number:
                self._lag_seconds.labels(partition).set(0)
            elif oldest > 0:
                age = now.timestamp() - oldest / 1000
                self._lag_seconds.labels(partition).set(max(0, age))

    def forget_partitions(self) -> None:
        """Remove the lag of all partitions: it is unknown, or they may have another owner now."""
        self._lag_records.clear()
        self._lag_seconds.clear()

    def observe_database(
        self, open_sessions: int, watermark: datetime | None, search_backlog: int
    ) -> None:
        """Set the gauges of what was read from PostgreSQL."""
        self._open_sessions.set(open_sessions)
        self._watermark = watermark
        self._search_backlog.set(search_backlog)

    def _watermark_lag(self) -> float:
        """Return the seconds from the last known watermark to now; 0 before the first event."""
        return (self._now() - self._watermark).total_seconds() if self._watermark else 0.0


class Metrics:
    """All metrics of one consumer, in a registry of their own.

    now: returns the current time in UTC.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.registry = CollectorRegistry()
        self.outcomes = OutcomeMetrics(self.registry)
        self.progress = ProgressMetrics(self.registry, now)
