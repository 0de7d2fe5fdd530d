"""What the consumer did since its last log line."""

import logging
from collections.abc import Iterable

from clickstream.storage.positions import PartitionProgress

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0


class Progress:
    """Counts of records, and the line that tells them. Times are in seconds of a steady clock."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._clear()

    def _clear(self) -> None:
        self.records = self.duplicates = self.late = self.rejected = self.closed = 0

    def due(self, now: float) -> bool:
        """Whether an interval has passed since the last line."""
        return now - self._since >= INTERVAL_SECONDS

    def add(self, batch: Iterable[PartitionProgress]) -> None:
        """Count a committed batch."""
        for progress in batch:
            self.records += progress.records
            self.duplicates += progress.duplicates
            self.late += progress.late
            self.rejected += progress.rejected

    def report(self, now: float, *, lag: int, open_sessions: int, cached: int, also: str) -> None:
        """Log one line and begin the next interval. also: the end of the line."""
        seconds = max(now - self._since, 0.001)
        logger.info(
            "%d records in %.0f s (%.0f/s): %d duplicates, %d late, %d rejected; "
            "%d sessions closed, %d open (%d visitors in memory); lag %d%s",
            self.records,
            seconds,
            self.records / seconds,
            self.duplicates,
            self.late,
            self.rejected,
            self.closed,
            open_sessions,
            cached,
            lag,
            also,
        )
        self._since = now
        self._clear()
