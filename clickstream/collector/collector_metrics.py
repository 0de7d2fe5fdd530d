"""The metrics of a collector, in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

ACKNOWLEDGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CollectorMetrics:
    """Counters of requests and events, the time until Kafka acknowledged, and what is pending."""

    def __init__(self, pending_records: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "clickstream_collector_requests_total",
            "Requests with events, by the status of the answer",
            ["status"],
            registry=self._registry,
        )
        self.events = Counter(
            "clickstream_collector_events_total",
            "Events that every replica of Kafka has",
            registry=self._registry,
        )
        self.acknowledge_seconds = Histogram(
            "clickstream_collector_acknowledge_seconds",
            "Time from reading a request to the acknowledgement of all its events by Kafka",
            buckets=ACKNOWLEDGE_BUCKETS,
            registry=self._registry,
        )
        Gauge(
            "clickstream_collector_pending_events",
            "Events that Kafka has neither acknowledged nor refused",
            registry=self._registry,
        ).set_function(pending_records)

    def as_text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
