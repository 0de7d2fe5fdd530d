"""A warning if the clock of this host seems to be wrong."""

import logging
import socket
from collections.abc import Collection
from datetime import datetime

from clickstream.durations import format_time
from clickstream.storage.positions import PartitionProgress

logger = logging.getLogger(__name__)


class ClockWatch:
    """Warns once if most records of a batch are rejected because their time is too far ahead."""

    def __init__(self) -> None:
        self._warned = False

    def observe(self, batch: Collection[PartitionProgress], now: datetime) -> None:
        """Warn if most records are too far ahead of `now`, with which the batch was parsed."""
        records = sum(progress.records for progress in batch)
        ahead = sum(progress.too_far_ahead for progress in batch)
        if self._warned or 2 * ahead <= records:
            return
        self._warned = True
        logger.warning(
            "%d of %d records have a timestamp more than MAX_FUTURE_SECONDS ahead of the clock of "
            "this host (%s: %s): if the clock is wrong, set it, and store them with: python -m "
            "clickstream rejected retry --reason timestamp_out_of_range",
            ahead,
            records,
            socket.gethostname(),
            format_time(now),
        )
