"""Warnings while the consumer waits for its group or its topic."""

import logging
from collections.abc import Callable
from time import monotonic

from clickstream.consumer.interval import Interval

logger = logging.getLogger(__name__)

# Kafka removes a dead member after 30 s at most; a rebalance that takes longer may never end.
REBALANCE_SECONDS = 45.0


class GroupWatch:
    """Warns if a rebalance does not end, or if the topic does not exist.

    clock: returns seconds; it never goes back.
    """

    def __init__(self, group: str, topic: str, clock: Callable[[], float] = monotonic) -> None:
        self._group = group
        self._topic = topic
        self._clock = clock
        self._rebalance: Interval | None = None
        self._topic_was_missing = False

    def observe(self, *, settled: bool, topic_is_missing: bool) -> None:
        """Warn if a rebalance takes too long or the topic is missing; call it at each read."""
        if topic_is_missing and not self._topic_was_missing:
            logger.warning(
                "topic %s does not exist yet: waiting for it (python create_schema.py creates it)",
                self._topic,
            )
        self._topic_was_missing = topic_is_missing
        if settled:
            self._rebalance = None
        else:
            self._watch_rebalance()

    def _watch_rebalance(self) -> None:
        if self._rebalance is None:
            self._rebalance = Interval(REBALANCE_SECONDS, self._clock)
        elif self._rebalance.is_over:
            self._rebalance.restart()
            logger.warning(
                "consumer group %s is stuck rebalancing: a member that is gone may hold it up; if "
                "no other consumer runs, set another KAFKA_GROUP_ID (positions are in PostgreSQL: "
                "nothing is lost or read twice)",
                self._group,
            )
