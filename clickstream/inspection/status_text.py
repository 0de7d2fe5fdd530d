"""The status of the pipeline as text for a terminal, at most 80 columns wide."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from clickstream.admin.text_table import table_lines
from clickstream.durations import format_duration, format_time
from clickstream.inspection.facts import LINE_WIDTH, fact
from clickstream.inspection.pipeline_status import PartitionStatus, PipelineStatus
from clickstream.plurals import plural
from clickstream.untrusted_text import clip

HEADINGS = ("partition", "position", "end", "lag", "behind", "watermark", "last commit")
UNKNOWN = "-"
START = "start one with: python consumer.py"


def status_lines(status: PipelineStatus) -> list[str]:
    """Return a table with a line for each partition, then a line for each other fact."""
    return [
        clip(f"Topic {status.topic}, group {status.group}, database {status.database}", LINE_WIDTH),
        format_time(status.time),
        "",
        *_table(status),
        "",
        *_facts(status),
    ]


def _table(status: PipelineStatus) -> list[str]:
    """Return the partitions, with numbers and ages aligned to the right."""
    if not status.partitions:
        return ["No consumer has read anything yet."]
    rows = [HEADINGS, *(_row(each, status.time) for each in status.partitions)]
    columns = [_aligned(column) for column in zip(*rows, strict=True)]
    first, *others = zip(*columns, strict=True)
    return table_lines(first, others)


def _aligned(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    return [text.rjust(width) for text in column]


def _row(partition: PartitionStatus, now: datetime) -> tuple[str, ...]:
    lag = partition.lag_seconds
    numbers = (partition.partition, partition.position, partition.end, partition.lag_records)
    return (
        *(UNKNOWN if number is None else str(number) for number in numbers),
        UNKNOWN if lag is None else _short(timedelta(seconds=lag)),
        _age(partition.watermark, now),
        _age(partition.last_commit, now),
    )


def _age(time: datetime | None, now: datetime) -> str:
    return UNKNOWN if time is None else f"{_short(max(timedelta(), now - time))} ago"


def _short(duration: timedelta) -> str:
    """Show a duration in its largest unit, to the second."""
    text = format_duration(timedelta(seconds=round(duration.total_seconds())))
    return " ".join(text.split()[:2])


def _facts(status: PipelineStatus) -> Iterator[str]:
    yield from fact("lag", _lag(status))
    for owner, partitions in status.owners.items():
        yield from fact("consumer", f"{clip(owner, LINE_WIDTH // 2)}: {_numbers(partitions)}")
    unowned = [each.partition for each in status.partitions if each.owner is None]
    if not status.owners:
        yield from fact("consumer", f"none is running; {START}")
    elif unowned:
        yield from fact("no owner", _numbers(unowned))
    yield from fact("rejected", f"{status.rejected_last_hour:,} in the last hour")
    yield from fact("search", _search(status))
    if status.kept_from:
        yield from fact("kept", f"events before {format_time(status.kept_from)} are not kept")


def _lag(status: PipelineStatus) -> str:
    if status.total_lag_records is None:
        return "unknown without Kafka"
    if not status.total_lag_records:
        return "none: every record is read"
    ages = [each.lag_seconds for each in status.partitions if each.lag_seconds]
    oldest = f", the oldest {format_duration(timedelta(seconds=round(max(ages))))} old"
    number = status.total_lag_records
    return f"{number:,} {plural(number, 'record')}{oldest if ages else ''}"


def _search(status: PipelineStatus) -> str:
    backlog = status.search_backlog
    if backlog is None:
        return "off: OPENSEARCH_HOST is empty"
    return "everything is indexed" if backlog.caught_up else str(backlog)


def _numbers(partitions: Sequence[int]) -> str:
    """Return partitions in words: "partitions 0 to 5, 7"."""
    starts = [n for before, n in pairwise([-2, *partitions]) if n != before + 1]
    ends = [n for n, after in pairwise([*partitions, partitions[-1] + 2]) if after != n + 1]
    ranges = [
        str(first) if first == last else f"{first} to {last}"
        for first, last in zip(starts, ends, strict=True)
    ]
    return f"partition{'s' * (len(partitions) > 1)} {', '.join(ranges)}"
