"""Showing the stored positions, and resetting them so that a topic is read again."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from clickstream.admin.text_table import table_lines
from clickstream.clients.postgres import Connection
from clickstream.errors import UsageError
from clickstream.storage import positions, stored_reading, write_lock
from clickstream.storage.query_rows import select_as
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clean, clip

SELECT_POSITIONS = """
    SELECT topic, partition, position, records, duplicates, late, rejected, removed, watermark,
           owner
    FROM stream_positions
    ORDER BY topic, partition
"""
COUNTERS = ("position", "records", "duplicates", "late", "rejected", "removed")
LINE_WIDTH = 80


@dataclass(frozen=True, slots=True)
class ShownPosition:
    """The stored progress of a partition.

    position: offset of the next record to read. owner: the last one. The rest are counters.
    """

    topic: str
    partition: int
    position: int
    records: int
    duplicates: int
    late: int
    rejected: int
    removed: int
    watermark: datetime | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class ShownPositions:
    """The stored progress of all partitions, in the order of topic and partition."""

    partitions: list[ShownPosition]


def read_positions(connection: Connection) -> ShownPositions:
    """Read the progress of each partition."""
    with snapshot(connection) as cursor:
        return ShownPositions(select_as(ShownPosition, cursor, SELECT_POSITIONS))


def position_lines(stored: ShownPositions) -> list[str]:
    """Return a table for each topic, and below it the watermark and last owner of each partition.

    The lines have at most LINE_WIDTH characters if the counters have up to ten digits.
    """
    if not stored.partitions:
        return ["No consumer has read anything yet."]
    lines = []
    for topic, group in groupby(stored.partitions, attrgetter("topic")):
        partitions = list(group)
        numbers = [
            (str(each.partition), *(str(getattr(each, name)) for name in COUNTERS))
            for each in partitions
        ]
        owners = [
            (
                str(each.partition),
                f"{each.watermark:%Y-%m-%d %H:%M:%S} UTC" if each.watermark else "-",
                clean(each.owner or "-"),
            )
            for each in partitions
        ]
        lines += [
            clip(f"Topic {clean(topic)}", LINE_WIDTH),
            *table_lines(("partition", *COUNTERS), numbers),
            "",
            *(
                clip(line, LINE_WIDTH)
                for line in table_lines(("partition", "watermark", "last owner"), owners)
            ),
            "",
        ]
    return lines[:-1]


def reset(connection: Connection, topic: str, *, confirmed: bool) -> int:
    """Make consumers read a topic again from the beginning, and return its number of partitions.

    Safe, because events that are stored already are counted as duplicates, unless the names of
    fields have changed: then it raises UsageError if it is not confirmed.
    """
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        renamed = stored_reading.renamed_fields(cursor)
        if renamed and not confirmed:
            raise UsageError(
                f"EVENT_FIELDS has changed the names of {', '.join(renamed)} since records of this "
                f"database were read: {_consequences(renamed)}; add --yes to do it"
            )
        return positions.reset_topic(cursor, topic)


def _consequences(renamed: Collection[str]) -> str:
    """Return what may happen to records that are read again."""
    found = []
    if not set(stored_reading.KEY_FIELDS).isdisjoint(renamed):
        found.append("records read before may be stored twice")
    if not set(stored_reading.CONTENT_FIELDS).isdisjoint(renamed):
        found.append("stored events may be rejected as event_id_conflict")
    return " and ".join(found)
