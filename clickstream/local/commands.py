"""`python -m clickstream stack` and `demo` on the command line.

The code behind them is imported when a command runs, because production has neither psutil nor the
servers' packages.
"""

import argparse
from functools import partial
from importlib import import_module
from typing import Any

from clickstream import cli
from clickstream.errors import UserError


def register(commands: cli.Subparsers) -> None:
    """Register the commands."""
    summary = "run the whole pipeline once on temporary servers, and write the report as a page"
    _add(commands, "demo", summary, "demo", "run").add_argument(
        "--keep",
        action="store_true",
        help="run it on local servers that keep running, as those of stack up; they must be empty",
    )

    actions = cli.add_command_group(
        commands,
        "stack",
        "start, stop, show and reset local servers: a broker, PostgreSQL, a search server",
    )
    summary = "start the servers that are not running, create tables and topic, and write .env"
    _add(actions, "up", summary, "console", "up").add_argument(
        "--force",
        action="store_true",
        help="replace a .env that this command did not write, keeping a backup",
    )
    _add(actions, "down", "stop the servers; PostgreSQL keeps its data", "console", "down")
    summary = "show the servers and their addresses; exit status 1 unless all are running"
    _add(actions, "status", summary, "console", "status")
    summary = "delete all data, after a question, and start the running servers again, empty"
    reset = _add(actions, "reset", summary, "console", "reset")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.add_argument(
        "--orphaned",
        action="store_true",
        help="delete instead the data of stacks whose folder was deleted (root only)",
    )


def _add(
    commands: cli.Subparsers, name: str, summary: str, module: str, function: str
) -> argparse.ArgumentParser:
    return cli.add_command(commands, name, summary, partial(_run, module, function))


def _run(module: str, function: str, arguments: argparse.Namespace) -> int:
    """Call a function of a module of this folder, with a sentence for errors of the file system."""
    command = getattr(_import(module), function)
    try:
        return int(command(arguments))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"the local servers cannot use their files: {error}") from error


def _import(name: str) -> Any:
    """Import a module of this folder. Raises UserError if a package that it needs is missing."""
    try:
        return import_module(f"clickstream.local.{name}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"local servers cannot run here, as the module {error.name} is missing: "
            "python -m pip install -r requirements-dev.txt (on Windows: inside WSL)"
        ) from None
