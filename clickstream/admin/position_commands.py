"""Showing the stored positions, and resetting them so that a topic is read again."""

from clickstream.admin.text_table import table_lines
from clickstream.clients.postgres import Connection
from clickstream.storage import positions, write_lock
from clickstream.storage.snapshot import snapshot

SELECT_PROGRESS = """
    SELECT topic, partition, position, records, duplicates, late, rejected,
           to_char(watermark, 'YYYY-MM-DD HH24:MI:SS "UTC"'), owner
    FROM stream_positions
    ORDER BY topic, partition
"""
HEADINGS = (
    "topic", "partition", "position", "records", "duplicates", "late", "rejected", "watermark",
    "last owner",
)  # fmt: skip


def table(connection: Connection) -> list[str]:
    """Return the progress of each partition, as lines with headings."""
    with snapshot(connection) as cursor:
        cursor.execute(SELECT_PROGRESS)
        rows = [["-" if value is None else str(value) for value in row] for row in cursor]
    if not rows:
        return ["No consumer has read anything yet."]
    return table_lines(HEADINGS, rows)


def reset(connection: Connection, topic: str) -> int:
    """Make consumers read a topic again from the beginning, and return its number of partitions.

    Safe: events that are stored already are counted as duplicates.
    """
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        return positions.reset_topic(cursor, topic)
