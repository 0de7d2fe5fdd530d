"""The consumer's log lines about its progress, every few seconds and at the end."""

import logging
from typing import Protocol

from clickstream.consumer.counters import Counters
from clickstream.consumer.interval import Interval
from clickstream.plurals import plural

logger = logging.getLogger(__name__)

# Without records a line is logged once in this time.
IDLE_INTERVAL_SECONDS = 60.0
LIST_REJECTED = "; list them with: python -m clickstream rejected list"


class SearchBacklog(Protocol):
    """Rows that are not indexed yet; the text also gives the age of the oldest."""

    @property
    def rows(self) -> int: ...


class ProgressLog:
    """Logs the numbers of records since the last line, with a warning if some were rejected."""

    def __init__(self) -> None:
        self._interval = Interval(IDLE_INTERVAL_SECONDS)
        self._since_line = Counters()
        self._total = Counters()

    @property
    def is_due(self) -> bool:
        """True if there are records to report, or if the last line is IDLE_INTERVAL_SECONDS old."""
        return bool(self._since_line.records) or self._interval.is_over

    def add(self, counters: Counters) -> None:
        """Add counts to the next line and to the total."""
        self._since_line.merge(counters)
        self._total.merge(counters)

    def log_total(self) -> None:
        """Log the number of all records by outcome: a warning if some were rejected."""
        level = logging.WARNING if self._total.rejected else logging.INFO
        also = LIST_REJECTED if self._total.rejected else ""
        fields = self._total.log_fields()
        logger.log(level, "%s%s", self._total, also, extra={"fields": fields})

    def log_progress(
        self, *, open_sessions: int, visitors: int, lag: int, backlog: SearchBacklog | None
    ) -> None:
        """Log what happened since the last line.

        visitors: number of visitors in memory. backlog: None if search is off.
        """
        seconds = max(self._interval.restart(), 0.001)
        counters, self._since_line = self._since_line, Counters()
        fields = {
            **counters.log_fields(),
            "seconds": round(seconds, 3),
            "rate": round(counters.records / seconds, 3),
            "sessions_open": open_sessions,
            "visitors_in_memory": visitors,
            "lag": lag,
            "search_backlog": backlog.rows if backlog else None,
        }
        logger.info(
            "%d %s in %.0f s (%.0f/s): %d %s, %d late, %s; "
            "%d %s closed, %d open (%d %s in memory); lag %d%s",
            counters.records,
            plural(counters.records, "record"),
            seconds,
            counters.records / seconds,
            counters.duplicates,
            plural(counters.duplicates, "duplicate"),
            counters.late,
            _not_stored(counters),
            counters.closed,
            plural(counters.closed, "session"),
            open_sessions,
            visitors,
            plural(visitors, "visitor"),
            lag,
            f"; search index {backlog}" if backlog else "",
            extra={"fields": fields},
        )
        if counters.rejected:
            _warn_of_rejected(counters)


def _not_stored(counters: Counters) -> str:
    removed = f", {counters.removed} removed" if counters.removed else ""
    return f"{counters.rejected} rejected{removed}"


def _warn_of_rejected(counters: Counters) -> None:
    logger.warning(
        "%d of %d %s rejected (%s)%s",
        counters.rejected,
        counters.records,
        "record was" if counters.records == 1 else "records were",
        counters.reasons,
        LIST_REJECTED,
        extra={"fields": counters.log_fields()},
    )
