"""Registering commands of `python -m clickstream` that work on the database."""

import argparse
from functools import partial

import psycopg2

from clickstream import cli
from clickstream.errors import UserError, first_line


def add_database_command(
    commands: cli.Subparsers, name: str, summary: str, command: cli.Command
) -> argparse.ArgumentParser:
    """Register a command that has the option --env-file, and return its parser.

    summary, command: see `cli.add_command`. An error of PostgreSQL becomes a sentence for the user.
    """
    parser = cli.add_command(commands, name, summary, partial(_run, command))
    cli.add_env_file(parser)
    return parser


def _run(command: cli.Command, arguments: argparse.Namespace) -> int:
    try:
        return command(arguments)
    except psycopg2.Error as error:
        raise UserError(
            f"PostgreSQL failed ({first_line(error)}); run: python -m clickstream doctor"
        ) from None
