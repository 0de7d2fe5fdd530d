"""The warning that names the clock of this host."""

from datetime import UTC, datetime

import pytest

from clickstream.consumer.clock_watch import ClockWatch
from clickstream.storage.positions import PartitionProgress

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def progress(records: int, too_far_ahead: int) -> PartitionProgress:
    reasons = {"timestamp_out_of_range": too_far_ahead}
    return PartitionProgress(0, NOON, records, 0, 0, reasons, too_far_ahead)


@pytest.mark.parametrize(
    ("batch", "warned"),
    [
        ([], False),
        ([progress(2, 1)], False),
        ([progress(3, 2)], True),
        ([progress(2, 2), progress(2, 0)], False),
        ([progress(2, 2), progress(1, 0)], True),
    ],
)
def test_more_than_half_of_a_batch_ahead_of_the_clock_is_a_warning(
    batch: list[PartitionProgress], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ClockWatch().observe(batch, NOON)
    assert bool(caplog.messages) is warned


def test_the_clock_is_named_once_with_its_time(caplog: pytest.LogCaptureFixture) -> None:
    watch = ClockWatch()
    for _ in range(2):
        watch.observe([progress(3, 3)], NOON)
    (message,) = caplog.messages
    assert message.startswith("3 of 3 records have a timestamp ")
    assert "2024-05-01 12:00:00 UTC" in message
