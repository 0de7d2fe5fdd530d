"""Deleting rejected records, which then count as removed."""

from clickstream.admin.rejected_records import IS_SELECTED, Selection
from clickstream.clients.postgres import Connection
from clickstream.storage import write_lock

# Deletes the selected records and moves their number to another counter; returns it by reason.
DELETE_SELECTED = f"""
    WITH deleted AS (
        DELETE FROM rejected_events WHERE {IS_SELECTED} RETURNING topic, partition, reason),
    moved AS (
        UPDATE stream_positions AS p
        SET rejected = p.rejected - gone.number, removed = p.removed + gone.number
        FROM (SELECT topic, partition, count(*) AS number FROM deleted GROUP BY topic, partition)
            AS gone
        WHERE (p.topic, p.partition) = (gone.topic, gone.partition))
    SELECT reason, count(*) FROM deleted GROUP BY reason
"""  # noqa: S608 - built of constants


def delete(connection: Connection, selection: Selection) -> dict[str, int]:
    """Delete rejected records in one transaction, and return their number by reason.

    No consumer writes meanwhile: a batch looks up which of its records are rejected already.
    A record that is read again afterwards, after a reset of the positions, is rejected again.
    Raises UserError if a consumer does not stop writing.
    """
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        cursor.execute(DELETE_SELECTED, selection.parameters())
        return dict(cursor.fetchall())
