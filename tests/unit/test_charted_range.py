"""The range of time that the report's chart covers."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.report.traffic_over_time import (
    BUCKET_SECONDS,
    MOST_BUCKETS,
    bucket_number,
    bucket_ranges,
    bucket_start,
    charted_range,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LONG_AGO = datetime(1995, 1, 1, tzinfo=UTC)
YEAR_7000 = datetime(7000, 1, 1)  # noqa: DTZ001 - as Hypothesis expects it
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
DAY = 86_400


def charted(times: list[datetime], outside: int) -> tuple[datetime, datetime, int]:
    """Chart times of which this many may be left out."""
    ordered = sorted(times)
    return charted_range(ordered[: outside + 1], ordered[::-1][: outside + 1])


def minutes(number: int) -> list[datetime]:
    return [NOON + n * 60 * SECOND for n in range(number)]


def test_a_wrong_clock_does_not_make_the_buckets_longer_and_it_alone_is_left_out() -> None:
    for wrong in (LONG_AGO, NOON + timedelta(days=9_999)):
        first, last, seconds = charted([*minutes(60), wrong], outside=3)
        assert (first, last, seconds) == (NOON, NOON + 59 * 60 * SECOND, 60)


def test_as_many_clocks_may_be_wrong_as_may_be_left_out() -> None:
    wrong = [LONG_AGO, LONG_AGO + SECOND, NOON + timedelta(days=9_999)]
    assert charted([*minutes(60), *wrong], outside=3)[2] == 60
    assert charted([*minutes(60), *wrong], outside=2)[2] > 86_400


def test_events_that_fit_into_the_buckets_are_never_left_out() -> None:
    assert charted(minutes(60), outside=10) == (NOON, NOON + 59 * 60 * SECOND, 60)


def test_one_event_is_one_range() -> None:
    assert charted([NOON], outside=0) == (NOON, NOON, BUCKET_SECONDS[0])


@given(
    st.lists(st.datetimes(max_value=YEAR_7000, timezones=st.just(UTC)), min_size=2, max_size=30),
    st.integers(0, 9),
)
def test_no_range_needs_too_many_buckets_and_none_leaves_out_too_many_events(
    times: list[datetime], outside: int
) -> None:
    outside = min(outside, (len(times) - 1) // 2)
    first, last, seconds = charted(times, outside)
    assert (last - first) / timedelta(seconds=seconds) < MOST_BUCKETS - 1
    assert sum(not first <= time <= last for time in times) <= outside


@pytest.mark.parametrize("name", ["UTC", "Europe/Oslo", "America/New_York", "Asia/Kolkata"])
def test_a_day_is_a_bucket_by_the_wall_clock_of_the_zone_in_every_year(name: str) -> None:
    zone = ZoneInfo(name)
    for day in (*range(0, 30_000, 7), *range(20_379, 20_390)):  # with a change of Oslo's clocks
        start = bucket_start(day, DAY, zone)
        assert start.astimezone(zone).time() == time(0)
        assert bucket_number(start, DAY, zone) == day
        assert bucket_number(start - timedelta(microseconds=1), DAY, zone) == day - 1
    for year in (1, 9999):
        number = bucket_number(datetime(year, 1, 1, tzinfo=UTC), DAY, zone)
        assert bucket_start(number, DAY, zone).year in (year - 1, year)


@given(
    st.datetimes(datetime(1950, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(BUCKET_SECONDS[:11]),
    st.sampled_from(
        ["UTC", "Europe/Oslo", "Africa/Monrovia", "Asia/Kathmandu", "Africa/Casablanca"]
    ),
    st.data(),
)
def test_each_time_is_in_the_range_of_its_bucket(
    first: datetime, seconds: int, name: str, data: st.DataObject
) -> None:
    zone = ZoneInfo(name)
    last = first + timedelta(seconds=50 * seconds)
    ranges = bucket_ranges(first, last, seconds, zone)
    assert ranges[0].start == first
    assert [each.start for each in ranges[1:]] == [each.end for each in ranges[:-1]]
    assert ranges[-1].start <= last < ranges[-1].end
    at = data.draw(st.sampled_from(ranges))
    moment = data.draw(
        st.datetimes(at.start.replace(tzinfo=None), (at.end - MICROSECOND).replace(tzinfo=None))
    )
    for time_in_range in (at.start, moment.replace(tzinfo=UTC), at.end - MICROSECOND):
        assert bucket_number(time_in_range, seconds, zone) == at.number


def test_when_the_clocks_are_put_back_two_ranges_are_in_one_bucket() -> None:
    first = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)  # 02:00 in Oslo, for the first time
    ranges = bucket_ranges(first, first + timedelta(hours=2), 1_800, ZoneInfo("Europe/Oslo"))
    two, half_past_two, three = ranges[0].number, ranges[1].number, ranges[4].number
    assert [each.number for each in ranges[:5]] == [two, half_past_two, two, half_past_two, three]


def test_ranges_end_at_the_last_time_that_there_is() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    (only,) = bucket_ranges(last - SECOND, last, DAY, ZoneInfo("Asia/Kolkata"))
    assert only.end == last
