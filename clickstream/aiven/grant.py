"""`python -m clickstream grant`: allow the pipeline's PostgreSQL role to create its tables.

Terraform creates the role and the database but cannot run a GRANT. This command runs it as the
administrator, whose password it takes from Terraform's outputs and stores nowhere. Running it
again is harmless.
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
from clickstream.pasteable import pasteable
from clickstream.settings import Settings, load

APPLICATION = "clickstream grant"
HAS_CREATE = "SELECT has_database_privilege(%s, current_database(), 'CREATE')"


def run(arguments: argparse.Namespace) -> int:
    """Run the GRANT and print the next step."""
    outputs = read(arguments.terraform, arguments.file)
    settings = administrator(load(arguments.env_file), outputs)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        grant(connection, outputs.postgres_user, outputs.postgres_database)
    granted = (
        f"The role {outputs.postgres_user!r} may create its tables in the database "
        f"{outputs.postgres_database!r}. Next: python create_schema.py"
    )
    print(pasteable(granted))
    return cli.DONE


def administrator(settings: Settings, outputs: Outputs) -> Settings:
    """Return the settings with the administrator in place of the pipeline's role.

    Raises UserError if the settings name another server, which must not get the password.
    """
    expected = (outputs.postgres_host, outputs.postgres_port, outputs.postgres_database)
    if (settings.postgres_host, settings.postgres_port, settings.postgres_database) != expected:
        raise UserError(
            f"POSTGRES_* name {settings.postgres_host}:{settings.postgres_port}/"
            f"{settings.postgres_database}, but Terraform's outputs name "
            f"{outputs.postgres_host}:{outputs.postgres_port}/{outputs.postgres_database}; "
            "run this first: python -m clickstream env"
        )
    return replace(
        settings,
        postgres_user=outputs.postgres_admin_user,
        postgres_password=outputs.postgres_admin_password,
    )


def grant(connection: Connection, role: str, database: str) -> None:
    """Grant `role` the right to create schemas in `database`, the connected one.

    Raises UserError if the connected role may not grant it.
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
    if not granted:  # without the right to grant, PostgreSQL only warns
        raise UserError(
            f"the administrator does not own the database {database!r}; its owner has to run: "
            f"{statement.as_string(connection)}"
        )
