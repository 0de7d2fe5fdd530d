"""Deleting rejected records, which then count as removed."""

from clickstream.admin.rejected_records import IS_SELECTED, Selection
from clickstream.clients.postgres import Connection
from clickstream.storage import write_lock
from clickstream.storage.positions import FORGOTTEN
from clickstream.storage.removal import rejected_deletion

DELETE_SELECTED = rejected_deletion(IS_SELECTED)


def delete(connection: Connection, selection: Selection) -> dict[str, int]:
    """Delete rejected records in one transaction, and return their number by reason.

    No consumer writes meanwhile: a batch looks up which of its records are rejected already.
    A record that is read again afterwards, after a reset of the positions, is rejected again.
    Raises UserError if a consumer does not stop writing.
    """
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        cursor.execute(DELETE_SELECTED, {**selection.parameters(), "forgotten": FORGOTTEN})
        return dict(cursor.fetchall())
