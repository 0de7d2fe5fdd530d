"""The partitions of the topic that other members of the consumer group read."""

import logging

from clickstream.clients.postgres import Cursor
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.topic import Topic
from clickstream.storage import positions

logger = logging.getLogger(__name__)


class OtherPartitions:
    """The lag of these partitions, and a warning if their readers use another database."""

    def __init__(self) -> None:
        self._unowned: set[int] = set()

    def end_offsets(self, topic: Topic, assignment: Assignment) -> dict[int, int]:
        """Return the end offsets of the partitions that this consumer does not own."""
        return topic.end_offsets(topic.partitions() - assignment.partitions.keys())

    def lag(self, cursor: Cursor, assignment: Assignment, end_offsets: dict[int, int]) -> int:
        """Return the number of their records that are not stored; warn if nobody stores them.

        A new owner needs a moment, so partitions without one at two calls in a row are named.
        """
        if not end_offsets:
            self._unowned = set()
            return 0
        unowned = end_offsets.keys() - positions.owned(cursor, assignment.topic.name)
        if lasting := sorted(unowned & self._unowned):
            logger.warning(
                "partitions %s of topic %s are read by nobody who works on this database: another "
                "program uses this KAFKA_GROUP_ID; stop it, or give one of them another group",
                lasting,
                assignment.topic.name,
            )
        self._unowned = unowned
        stored = positions.read(cursor, assignment.topic)
        return sum(max(0, end - stored.get(n, 0)) for n, end in end_offsets.items())
