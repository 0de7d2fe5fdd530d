"""Accepting another reading of records: other names, another earliest time or IP_ADDRESSES.

Stored events stay as they are. Consumers with the old settings stop at their next batch.
"""

from contextlib import closing

from clickstream.clients.postgres import connect_or_explain
from clickstream.reading_settings import reading_of
from clickstream.settings import Settings
from clickstream.storage import stored_reading, write_lock


def accept_reading(settings: Settings) -> str:
    """Store the reading of the settings, and return a sentence about it.

    Raises UserError if PostgreSQL cannot be reached or a consumer does not stop writing.
    """
    reading = reading_of(settings)
    with (
        closing(connect_or_explain(settings, application="clickstream reading")) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        write_lock.exclude_consumers(cursor)
        stored_reading.replace(cursor, reading)
    return "From now on, records are read by these settings."
