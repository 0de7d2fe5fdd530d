"""Positions, shown and set back."""

from clickstream.clients.postgres import Connection
from clickstream.storage.positions import forget_every_log, stop_writers
from clickstream.storage.snapshot import snapshot

SHOW = """
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
    """The stored position of each partition, as lines with headings."""
    with snapshot(connection) as cursor:
        cursor.execute(SHOW)
        rows = [["-" if value is None else str(value) for value in row] for row in cursor]
    if not rows:
        return ["No consumer has read anything yet."]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in [list(HEADINGS), *rows]
    ]


def reset(connection: Connection, topic: str) -> int:
    """Make consumers read a topic again from its beginning; the number of partitions.

    Safe: what is stored already is recognised and counted as duplicates.
    """
    with connection, connection.cursor() as cursor:
        stop_writers(cursor)
        return forget_every_log(cursor, topic)
