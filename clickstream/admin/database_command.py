"""Registering commands of `python -m clickstream` that work on the database."""

import argparse
from functools import partial

from clickstream import cli
from clickstream.clients.postgres import explained_errors


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
    with explained_errors():
        return command(arguments)
