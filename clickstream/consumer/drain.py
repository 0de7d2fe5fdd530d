"""Draining: stopping when everything that was in the topic at the start is stored."""

import logging

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.database import Database
from clickstream.consumer.topic import Topic
from clickstream.storage import positions
from clickstream.storage.positions import TopicIdentity

logger = logging.getLogger(__name__)


class Drain:
    """Stops the consumer at the end offsets that the partitions had when they were first seen."""

    def __init__(self) -> None:
        self.is_finished = False
        self._topic: TopicIdentity | None = None
        self._ends: dict[int, int] = {}

    def is_reached(self, topic: Topic, assignment: Assignment, database: Database) -> bool:
        """Return True if all records before these offsets are stored, by any consumer."""
        if assignment.topic != self._topic:
            self._topic, self._ends = assignment.topic, {}
        self._ends = {**topic.high_watermarks(), **self._ends}
        if any(
            partition not in self._ends or position < self._ends[partition]
            for partition, position in assignment.positions.items()
        ):
            return False
        others = topic.partitions() - self._ends.keys()
        self._ends |= topic.end_offsets(others)
        with database.transaction() as cursor:
            stored = positions.read(cursor, assignment.topic)
        return all(stored.get(partition, 0) >= end for partition, end in self._ends.items())

    def finish(self, topic: str) -> None:
        """Make the consumer stop."""
        logger.info("everything that was in topic %s has been read", topic)
        self.is_finished = True
