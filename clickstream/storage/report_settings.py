"""The time zone of the views: stored in the database, so that all clients get the same days."""

from zoneinfo import ZoneInfo

from psycopg2 import errors

from clickstream.clients.postgres import Connection
from clickstream.errors import UserError

# Fails if PostgreSQL does not know the time zone.
CHECK_TIME_ZONE = "SELECT now() AT TIME ZONE %(time_zone)s"
# Writes nothing if it is stored already.
STORE_TIME_ZONE = """
    INSERT INTO report_settings (time_zone) VALUES (%(time_zone)s)
    ON CONFLICT (only_row) DO UPDATE SET time_zone = excluded.time_zone
    WHERE report_settings.time_zone <> excluded.time_zone
"""


def store(connection: Connection, zone: ZoneInfo) -> None:
    """Store the time zone in which the views count days and hours.

    Raises UserError if PostgreSQL does not know it.
    """
    values = {"time_zone": zone.key}
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(CHECK_TIME_ZONE, values)
            cursor.execute(STORE_TIME_ZONE, values)
    except errors.InvalidParameterValue:
        raise UserError(
            f"PostgreSQL does not know the time zone {zone.key}; set REPORT_TIMEZONE to a name of "
            "the view pg_timezone_names"
        ) from None
