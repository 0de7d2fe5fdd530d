"""Where a PostgreSQL role may create tables, and the GRANT that is missing where it may not.

Since PostgreSQL 15 only the owner of a database may create tables in its schema `public`, and on
managed servers the owner is an administrator. A role that may create schemas gets one of its own
name, which the default `search_path` ("$user", public) looks into first.
"""

from dataclasses import dataclass

from psycopg2 import sql

from clickstream.clients.postgres import Connection, only_row
from clickstream.errors import UserError

ROOM_FOR_TABLES = """
    SELECT current_user, current_database(),
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
           has_database_privilege(current_database(), 'CREATE')
"""
CREATE_OWN_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {role}"
GRANT_CREATE = "GRANT CREATE ON DATABASE {database} TO {role}"


@dataclass(frozen=True, slots=True)
class Room:
    """What a role may do in the database it is connected to."""

    role: str
    database: str
    in_schema: bool  # may create tables where unqualified names go
    in_database: bool  # may create a schema of its own

    def missing_grant(self) -> str | None:
        """The statement that an administrator has to run before tables can be created, if any."""
        if self.in_schema or self.in_database:
            return None
        return GRANT_CREATE.format(database=_quoted(self.database), role=_quoted(self.role))


def room_for_tables(connection: Connection) -> Room:
    """Ask what the connected role may create."""
    with connection.cursor() as cursor:
        cursor.execute(ROOM_FOR_TABLES)
        return Room(*only_row(cursor))


def make_room_for_tables(connection: Connection) -> None:
    """Give the role a schema of its own where it may not create tables in the current one.

    Runs in the caller's transaction. Raises UserError with the GRANT that is missing.
    """
    room = room_for_tables(connection)
    missing = room.missing_grant()
    if missing:
        raise UserError(
            f"the role {room.role!r} may not create tables in the database {room.database!r}; "
            f"an administrator of it has to run: {missing}; "
            "on Aiven this does it: python -m clickstream grant"
        )
    if not room.in_schema:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(CREATE_OWN_SCHEMA).format(role=sql.Identifier(room.role)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
