"""`python -m clickstream env` and `grant` on the command line.

The code behind a command is imported when the command runs, because its libraries are slow to
import.
"""

import argparse
from pathlib import Path

from clickstream import cli


def register(commands: cli.Subparsers) -> None:
    """Register the commands."""
    command = cli.add_command(
        commands, "env", "write .env and certs/ from Terraform's outputs", _env
    )
    _add_source(command)
    command.add_argument(
        "--force",
        action="store_true",
        help="replace files that this command did not write, keeping backups",
    )
    command = cli.add_command(
        commands,
        "grant",
        "let the pipeline's PostgreSQL role create its tables; needed once, on Aiven",
        _grant,
    )
    _add_source(command)
    cli.add_env_file(command)


def _env(arguments: argparse.Namespace) -> int:
    from clickstream.aiven import env

    return env.run(arguments)


def _grant(arguments: argparse.Namespace) -> int:
    from clickstream.aiven import grant

    return grant.run(arguments)


def _add_source(command: argparse.ArgumentParser) -> None:
    """Give a command the options that name the source of the outputs."""
    command.add_argument(
        "--terraform",
        type=Path,
        default=Path("terraform"),
        metavar="DIR",
        help="folder of the Terraform module that was applied (default: terraform)",
    )
    command.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="read the output of terraform output -json from this file instead",
    )
