"""The metrics of a collector, in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector as MetricsCollector

ACKNOWLEDGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CollectorMetrics(MetricsCollector):
    """Counters of requests and events, the time until Kafka acknowledged, and pending events.

    They are plain numbers of the event loop: the counters of prometheus_client, which are locked,
    would take a tenth of the time of a request.
    """

    def __init__(self, pending_records: Callable[[], int]) -> None:
        self._pending_records = pending_records
        self._requests: Counter[int] = Counter()
        self._events = 0
        self._seconds = 0.0
        # Requests by bucket, each without those of the bucket before. The last has no upper limit.
        self._acknowledged = [0] * (len(ACKNOWLEDGE_BUCKETS) + 1)

    def count_request(self, status: int) -> None:
        """Count a request with events by the status of its answer."""
        self._requests[status] += 1

    def count_acknowledged(self, events: int, seconds: float) -> None:
        """Count a request whose events every replica has, after this time."""
        self._events += events
        self._seconds += seconds
        self._acknowledged[bisect_left(ACKNOWLEDGE_BUCKETS, seconds)] += 1

    def as_text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics for the registry."""
        requests = CounterMetricFamily(
            "clickstream_collector_requests",
            "Requests with events, by the status of the answer",
            labels=["status"],
        )
        for status, number in self._requests.items():
            requests.add_metric([str(status)], number)
        yield requests
        yield CounterMetricFamily(
            "clickstream_collector_events",
            "Events that every replica of Kafka has",
            value=self._events,
        )
        yield HistogramMetricFamily(
            "clickstream_collector_acknowledge_seconds",
            "Time from reading a request to the acknowledgement of all its events by Kafka",
            buckets=list(
                zip(
                    [*map(str, ACKNOWLEDGE_BUCKETS), "+Inf"],
                    accumulate(self._acknowledged),
                    strict=True,
                )
            ),
            sum_value=self._seconds,
        )
        yield GaugeMetricFamily(
            "clickstream_collector_pending_events",
            "Events that Kafka has neither acknowledged nor refused",
            value=self._pending_records(),
        )
