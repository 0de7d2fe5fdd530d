"""Events over time, in buckets of equal length: the chart of the report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from clickstream.clients.postgres import Cursor
from clickstream.durations import MICROSECOND, in_zone, wall_clock
from clickstream.report.models import Overview, TrafficBucket, TrafficOverTime
from clickstream.storage.query_rows import select_rows

MOST_BUCKETS = 72
# From 10 seconds to a century; the report takes the shortest that needs at most MOST_BUCKETS.
BUCKET_SECONDS = (
    *(10, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 43_200),
    *(86_400, 604_800, 2_592_000, 31_536_000, 315_360_000, 3_153_600_000),
)
# One in this many events may lie outside of the buckets. Otherwise a single visitor's clock that is
# years off would leave one bucket for all other events.
OUTSIDE_ONE_IN = 1_000
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_DATETIME = datetime(1, 1, 1, tzinfo=UTC)
LATEST_DATETIME = datetime.max.replace(tzinfo=UTC)

# The earliest events.
SELECT_EARLIEST_TIMES = """
    SELECT event_time FROM clickstream_events
    WHERE event_time >= %(since)s
    ORDER BY event_time LIMIT %(number)s
"""
# The latest events.
SELECT_LATEST_TIMES = """
    SELECT event_time FROM clickstream_events
    WHERE event_time >= %(since)s
    ORDER BY event_time DESC LIMIT %(number)s
"""
# Events in ranges of time, counted in the index of the table's key.
SELECT_TRAFFIC = """
    SELECT number, events
    FROM unnest(%(numbers)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS ranges (number, starts, ends)
    CROSS JOIN LATERAL (
        SELECT count(*) AS events FROM clickstream_events
        WHERE event_time >= starts AND event_time < ends AND event_time <= %(last)s) AS counted
"""


class BucketRange(NamedTuple):
    """A range of time in one bucket. number: number of the bucket. end: not included."""

    number: int
    start: datetime
    end: datetime


def read_traffic(
    cursor: Cursor, overview: Overview, since: datetime | str, zone: ZoneInfo
) -> TrafficOverTime:
    """Count events in about MOST_BUCKETS buckets at most, each as short as that allows.

    When the clocks of the zone are put forward, the hour that is skipped has empty buckets of its
    own. overview: totals of the events from `since` on.
    """
    if not overview.events:
        return TrafficOverTime(BUCKET_SECONDS[0], [], 0)
    limits = {"since": since, "number": overview.events // OUTSIDE_ONE_IN + 1}
    earliest = _times(cursor, SELECT_EARLIEST_TIMES, limits)
    latest = _times(cursor, SELECT_LATEST_TIMES, limits)
    first, last, seconds = charted_range(earliest, latest)
    counts = _counts(cursor, bucket_ranges(first, last, seconds, zone), last)
    buckets = [
        TrafficBucket(bucket_start(number, seconds, zone), counts[number])
        for number in range(min(counts), max(counts) + 1)
    ]
    return TrafficOverTime(seconds, buckets, overview.events - sum(counts.values()))


def _times(cursor: Cursor, query: str, limits: Mapping[str, object]) -> list[datetime]:
    cursor.execute(query, limits)
    return [time for (time,) in cursor]


def _counts(cursor: Cursor, ranges: Sequence[BucketRange], last: datetime) -> Counter[int]:
    """Return the events by number of the bucket. last: time of the last event that counts."""
    numbers, starts, ends = zip(*ranges, strict=True)
    values = {"numbers": list(numbers), "starts": list(starts), "ends": list(ends), "last": last}
    counts: Counter[int] = Counter()
    for row in select_rows(cursor, SELECT_TRAFFIC, values):
        counts[row["number"]] += row["events"]
    return counts


def charted_range(
    earliest: list[datetime], latest: list[datetime]
) -> tuple[datetime, datetime, int]:
    """Return the first and last time to chart, and the seconds of a bucket.

    A bucket is as long as the shortest range needs that leaves out len(earliest) - 1 events. The
    range is then extended as far as MOST_BUCKETS reach.
    earliest, latest: times of equally many events, from the first event on and from the last one
    back.
    """
    ranges = zip(earliest, reversed(latest), strict=True)
    first, last = min(ranges, key=lambda ends: ends[1] - ends[0])
    seconds = next(each for each in BUCKET_SECONDS if last - first < _length(each))
    first = next(time for time in earliest if last - time < _length(seconds))
    last = next(time for time in latest if time - first < _length(seconds))
    return first, last, seconds


def _length(bucket_seconds: int) -> timedelta:
    """Return the length of a range that never touches more than MOST_BUCKETS buckets."""
    return timedelta(seconds=(MOST_BUCKETS - 1) * bucket_seconds)


def bucket_ranges(
    first: datetime, last: datetime, seconds: int, zone: ZoneInfo
) -> list[BucketRange]:
    """Divide a range of time so that each part lies in one bucket.

    When the clocks of the zone are put back, two parts are in the same bucket.
    """
    ranges = []
    start = first
    while start <= last and start < LATEST_DATETIME:
        end = _end_of_range(start, seconds, zone)
        ranges.append(BucketRange(bucket_number(start, seconds, zone), start, end))
        start = end
    return ranges


def _end_of_range(start: datetime, seconds: int, zone: ZoneInfo) -> datetime:
    """Return when the bucket ends, or before that the time when the clocks of the zone change."""
    length = timedelta(seconds=seconds)
    left = length - (wall_clock(start, zone) - UNIX_EPOCH) % length
    if LATEST_DATETIME - start <= left:
        return LATEST_DATETIME
    before, end = start, start + left
    if _offset(end, zone) == _offset(start, zone):
        return end
    while end - before > MICROSECOND:
        middle = before + (end - before) // 2
        if _offset(middle, zone) == _offset(start, zone):
            before = middle
        else:
            end = middle
    return end


def _offset(time: datetime, zone: ZoneInfo) -> timedelta:
    return wall_clock(time, zone) - time


def bucket_start(number: int, seconds: int, zone: ZoneInfo) -> datetime:
    """Return the start of a bucket; that of the first one may lie before EARLIEST_DATETIME."""
    since_epoch = max(EARLIEST_DATETIME - UNIX_EPOCH, timedelta(seconds=number * seconds))
    return in_zone((UNIX_EPOCH + since_epoch).replace(tzinfo=zone), UTC)


def bucket_number(start: datetime, seconds: int, zone: ZoneInfo) -> int:
    """Return the number of the bucket that contains a time."""
    return (wall_clock(start, zone) - UNIX_EPOCH) // timedelta(seconds=seconds)
