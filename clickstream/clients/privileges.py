"""The right of a PostgreSQL role to create tables, and the GRANT for a role without it.

Since PostgreSQL 15 only the owner of a database may create tables in its schema `public`, and on
managed servers the owner is an administrator. A role that may create schemas creates one of its own
name, which is first in the default `search_path` ("$user", public).
"""

from dataclasses import dataclass

from psycopg2 import sql

from clickstream.clients.postgres import Connection, only_row
from clickstream.errors import UserError

SELECT_CREATE_RIGHTS = """
    SELECT current_user, current_database(),
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
           has_database_privilege(current_database(), 'CREATE')
"""
SELECT_SCHEMA = "SELECT current_schema()"
CREATE_OWN_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {role}"
GRANT_CREATE = "GRANT CREATE ON DATABASE {database} TO {role}"


@dataclass(frozen=True, slots=True)
class CreateRights:
    """The rights of a role to create tables and schemas in the connected database."""

    role: str
    database: str
    tables: bool  # in the schema that unqualified names refer to
    schemas: bool

    def missing_grant(self) -> str | None:
        """Return the statement that an administrator has to run first; None if there is none."""
        if self.tables or self.schemas:
            return None
        return GRANT_CREATE.format(database=_quoted(self.database), role=_quoted(self.role))


def create_rights(connection: Connection) -> CreateRights:
    """Return what the connected role may create."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_CREATE_RIGHTS)
        return CreateRights(*only_row(cursor))


def ensure_schema(connection: Connection) -> None:
    """Create a schema of the role's own if it may not create tables in the current schema.

    Runs in the caller's transaction. Raises UserError with the GRANT that is missing, or if the
    search_path has no schema.
    """
    rights = create_rights(connection)
    missing = rights.missing_grant()
    if missing:
        raise UserError(
            f"the role {rights.role!r} may not create tables in the database {rights.database!r}; "
            f"an administrator of it has to run: {missing}; on Aiven run instead: "
            "python -m clickstream grant"
        )
    if not rights.tables:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(CREATE_OWN_SCHEMA).format(role=sql.Identifier(rights.role)))
            cursor.execute(SELECT_SCHEMA)
            (schema,) = only_row(cursor)
        if schema is None:
            raise UserError(
                f"the search_path of the role {rights.role!r} in the database {rights.database!r} "
                "names no schema that exists, so tables cannot be created; run: "
                f"{_set_search_path(rights)}"
            )


def _set_search_path(rights: CreateRights) -> str:
    role, database = _quoted(rights.role), _quoted(rights.database)
    return f'ALTER ROLE {role} IN DATABASE {database} SET search_path = "$user", public'


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
