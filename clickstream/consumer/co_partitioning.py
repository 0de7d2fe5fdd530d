"""SessionCache at two consumers at once, whose sessions may then be wrong: said once."""

import logging

from clickstream.consumer.batch import Assignment, Batch

logger = logging.getLogger(__name__)

CURE = (
    "so a visitor may be at two consumers at once and sessions may become wrong; "
    "python summary.py --verify tells, python create_schema.py --rebuild-sessions repairs"
)


class CoPartitioning:
    """Watches for records that do not keep each visitor in one partition."""

    def __init__(self) -> None:
        self._partitions = 0
        self._warned = False

    def watch(self, assignment: Assignment, partitions: int, read: Batch) -> None:
        """Warn where others hold partitions too, and visitors are not bound to one of them.

        partitions: how many the topic has.
        """
        grown = 0 < self._partitions < partitions
        self._partitions = self._partitions or partitions
        if self._warned or len(assignment.partitions) >= partitions:
            return
        if grown:
            self._warn("partitions were added while several consumers run")
        elif any(record.key is None for records in read.records.values() for record in records):
            self._warn("several consumers read records without key")

    def _warn(self, reason: str) -> None:
        self._warned = True
        logger.warning("%s, %s", reason, CURE)
