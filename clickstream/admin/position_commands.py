"""Showing the stored positions, and resetting them so that a topic is read again."""

from collections.abc import Collection

from clickstream.admin.text_table import table_lines
from clickstream.clients.postgres import Connection
from clickstream.errors import UsageError
from clickstream.storage import positions, stored_reading, write_lock
from clickstream.storage.snapshot import snapshot

SELECT_PROGRESS = """
    SELECT topic, partition, position, records, duplicates, late, rejected, removed,
           to_char(watermark, 'YYYY-MM-DD HH24:MI:SS "UTC"'), owner
    FROM stream_positions
    ORDER BY topic, partition
"""
HEADINGS = (
    "topic", "partition", "position", "records", "duplicates", "late", "rejected", "removed",
    "watermark", "last owner",
)  # fmt: skip


def table(connection: Connection) -> list[str]:
    """Return the progress of each partition, as lines with headings."""
    with snapshot(connection) as cursor:
        cursor.execute(SELECT_PROGRESS)
        rows = [["-" if value is None else str(value) for value in row] for row in cursor]
    if not rows:
        return ["No consumer has read anything yet."]
    return table_lines(HEADINGS, rows)


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
