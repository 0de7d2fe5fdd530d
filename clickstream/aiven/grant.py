"""`python -m clickstream grant`: let the pipeline's role create its tables, as the administrator.

Terraform makes the role and the database but cannot grant in SQL. This does it, with the
administrator's password from Terraform's outputs, which stays in memory. Once is enough; again is
harmless.
"""

import argparse
from contextlib import closing
from dataclasses import replace

import psycopg2
from psycopg2 import sql

from clickstream import cli
from clickstream.aiven.outputs import Outputs, read
from clickstream.clients.postgres import Connection, connect_or_explain, only_row
from clickstream.clients.privileges import GRANT_CREATE
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings, load

APPLICATION = "clickstream grant"
HAS_CREATE = "SELECT has_database_privilege(%s, current_database(), 'CREATE')"


def run(arguments: argparse.Namespace) -> int:
    """Grant, and make sure that it took."""
    outputs = read(arguments.terraform, arguments.file)
    settings = administrator(load(arguments.env_file), outputs)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        grant(connection, outputs.postgres_user, outputs.postgres_database)
    print(
        f"The role {outputs.postgres_user!r} may create its tables in the database "
        f"{outputs.postgres_database!r}. Next: python create_schema.py"
    )
    return cli.DONE


def administrator(settings: Settings, outputs: Outputs) -> Settings:
    """The settings with the administrator in place of the pipeline's role.

    Raises UserError where the settings are of another server: it must not see the password.
    """
    place = (outputs.postgres_host, outputs.postgres_port, outputs.postgres_database)
    if (settings.postgres_host, settings.postgres_port, settings.postgres_database) != place:
        raise UserError(
            f"POSTGRES_* lead to {settings.postgres_host}:{settings.postgres_port}/"
            f"{settings.postgres_database}, Terraform's outputs to "
            f"{outputs.postgres_host}:{outputs.postgres_port}/{outputs.postgres_database}; "
            "run first: python -m clickstream env"
        )
    return replace(
        settings,
        postgres_user=outputs.postgres_admin_user,
        postgres_password=outputs.postgres_admin_password,
    )


def grant(connection: Connection, role: str, database: str) -> None:
    """Let `role` create schemas in the connected database, `database`.

    Raises UserError where the connected role may not say so.
    """
    statement = sql.SQL(GRANT_CREATE).format(
        database=sql.Identifier(database), role=sql.Identifier(role)
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.execute(HAS_CREATE, [role])
            (granted,) = only_row(cursor)
    except psycopg2.Error as error:
        raise UserError(f"PostgreSQL refused the grant: {first_line(error)}") from None
    if not granted:  # PostgreSQL only warns where the right was not the grantor's to give
        raise UserError(
            f"the administrator does not own the database {database!r}; let its owner run: "
            f"{statement.as_string(connection)}"
        )
