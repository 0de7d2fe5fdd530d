"""A warning if the events of one visitor may be read by two consumers at once."""

import logging

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch

logger = logging.getLogger(__name__)

CONSEQUENCE = (
    "so two consumers may read the same visitor and sessions may become wrong; check with: "
    "python summary.py --verify; repair with: python create_schema.py --rebuild-sessions"
)


class CoPartitioning:
    """Checks that all records of a visitor are in one partition, and warns once if not."""

    def __init__(self) -> None:
        self._partitions = 0
        self._warned = False

    def check(self, assignment: Assignment, partitions: int, batch: Batch) -> None:
        """Warn if others own partitions too and a visitor may be in more than one partition.

        partitions: the number that the topic has.
        """
        added = 0 < self._partitions < partitions
        self._partitions = self._partitions or partitions
        if self._warned or len(assignment.partitions) >= partitions:
            return
        if added:
            self._warn("partitions were added while several consumers run")
        elif any(record.key is None for records in batch.records.values() for record in records):
            self._warn("several consumers read records without key")

    def _warn(self, reason: str) -> None:
        self._warned = True
        logger.warning("%s, %s", reason, CONSEQUENCE)
