"""Events of the last hour by minute, kept up to date by reading only what was stored since."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from clickstream.clients.postgres import Cursor, only_row
from clickstream.storage.query_rows import select_as

MINUTE = timedelta(minutes=1)
MINUTES = 60
# The rate is a mean over this time, so that it does not jump with each batch.
RATE_TIME = timedelta(seconds=10)
SHOWN_TYPES = 100

# The new events are few among many, which the planner does not know before the first ANALYZE.
PREFER_INDEX = "SET LOCAL enable_seqscan = off"
SELECT_SNAPSHOT = "SELECT pg_current_snapshot()::text"
# The events of the last hour, by minute and type.
SELECT_HOUR = """
    SELECT date_trunc('minute', event_time) AS minute, event_type, count(*) AS events,
           coalesce(sum(price * coalesce(quantity, 1)) FILTER (WHERE event_type = 'purchase'), 0)
               AS revenue
    FROM clickstream_events
    WHERE event_time >= %(first_minute)s
    GROUP BY 1, 2
"""
# The events of transactions that an earlier snapshot did not see. Those before the last hour are
# counted, too, in one row with the minute before it.
SELECT_NEW_EVENTS = """
    SELECT greatest(date_trunc('minute', event_time), %(first_minute)s - interval '1 minute')
               AS minute,
           event_type, count(*) AS events,
           coalesce(sum(price * coalesce(quantity, 1)) FILTER (WHERE event_type = 'purchase'), 0)
               AS revenue
    FROM clickstream_events
    WHERE xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
    GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class MinuteFigures:
    """Events of one type in one minute, by event time."""

    minute: datetime
    event_type: str
    events: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class HourFigures:
    """Events of the last MINUTES minutes.

    start: start of the first minute. events_per_minute: the last one is not over yet. event_types:
    the most frequent ones, each with its number of events.
    """

    start: datetime
    events_per_minute: Sequence[int]
    event_types: Sequence[tuple[str, int]]
    revenue: Decimal


class LastHour:
    """Counts of the last hour's events, and the rate at which events are stored."""

    def __init__(self) -> None:
        self._snapshot: str | None = None
        self._figures: list[MinuteFigures] = []
        self._stored: deque[tuple[datetime, int]] = deque()

    def read(self, cursor: Cursor, now: datetime) -> HourFigures:
        """Read what was stored since the last call; the first call reads the whole hour.

        cursor: in a snapshot, of the same database at each call. now: the time of the snapshot.
        """
        first_minute = now.replace(second=0, microsecond=0) - (MINUTES - 1) * MINUTE
        query = SELECT_NEW_EVENTS if self._snapshot else SELECT_HOUR
        if self._snapshot:
            cursor.execute(PREFER_INDEX)
        values = {"first_minute": first_minute, "snapshot": self._snapshot}
        new = select_as(MinuteFigures, cursor, query, values)
        stored = sum(each.events for each in new) if self._snapshot else 0
        cursor.execute(SELECT_SNAPSHOT)
        (self._snapshot,) = only_row(cursor)
        self._stored.append((now, stored))
        while now - self._stored[0][0] > RATE_TIME:
            self._stored.popleft()
        self._figures = _merged([*self._figures, *new], first_minute)
        return self._hour(first_minute)

    @property
    def events_per_second(self) -> float | None:
        """The rate at which events were stored lately; None after the first call."""
        seconds = (self._stored[-1][0] - self._stored[0][0]).total_seconds()
        if not seconds:
            return None
        return sum(stored for _, stored in list(self._stored)[1:]) / seconds

    def _hour(self, first_minute: datetime) -> HourFigures:
        """Return the figures of the hour, without events ahead of it."""
        minutes = [0] * MINUTES
        types: Counter[str] = Counter()
        revenue = Decimal(0)
        for each in self._figures:
            index = (each.minute - first_minute) // MINUTE
            if index < MINUTES:
                minutes[index] += each.events
                types[each.event_type] += each.events
                revenue += each.revenue
        ordered = sorted(types.items(), key=lambda item: (-item[1], item[0]))
        return HourFigures(first_minute, minutes, ordered[:SHOWN_TYPES], revenue)


def _merged(figures: Sequence[MinuteFigures], first_minute: datetime) -> list[MinuteFigures]:
    """Return the figures from a minute on, those of equal minute and type added up."""
    totals: dict[tuple[datetime, str], MinuteFigures] = {}
    for each in figures:
        key = (each.minute, each.event_type)
        before = totals.get(key, MinuteFigures(*key, 0, Decimal(0)))
        events, revenue = before.events + each.events, before.revenue + each.revenue
        totals[key] = MinuteFigures(*key, events, revenue)
    return [each for each in totals.values() if each.minute >= first_minute]
