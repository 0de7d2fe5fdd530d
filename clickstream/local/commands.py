"""`python -m clickstream stack` and `python -m clickstream demo`, as the command line sees them.

What they do is imported when they run: production has neither psutil nor the servers' packages.
"""

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from clickstream.errors import UserError

STACK_HELP = {
    "up": "start the servers that do not run, create schema and topic, write .env",
    "down": "stop them; PostgreSQL keeps its data",
    "status": "which of them run, and where (exit status 1 unless all do)",
    "reset": "delete everything in them; running ones run again, empty",
}


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands of the local servers."""
    stack = subparsers.add_parser(
        "stack", help="local servers: a Kafka-compatible broker, PostgreSQL, search"
    )
    actions = stack.add_subparsers(metavar="ACTION", required=True)
    for name, text in STACK_HELP.items():
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(command=_stack, action=name)
        if name == "up":
            action.add_argument(
                "--force",
                action="store_true",
                help="replace a .env that this command did not write, keeping a backup",
            )
    demo = subparsers.add_parser("demo", help="the whole pipeline once, on servers of its own")
    demo.set_defaults(command=_demo)


def _stack(arguments: argparse.Namespace) -> int:
    console = _local("console")
    if arguments.action == "up":
        return _explained(lambda: console.up(force=arguments.force))
    return _explained(getattr(console, arguments.action))


def _demo(_: argparse.Namespace) -> int:
    return _explained(_local("demo").run)


def _local(name: str) -> Any:
    """A module of this room, or a sentence where what it stands on is missing."""
    try:
        return import_module(f"clickstream.local.{name}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"local servers cannot run here, as the module {error.name} is missing: "
            "python -m pip install -r requirements-dev.txt (on Windows: inside WSL)"
        ) from None


def _explained(command: Callable[[], int]) -> int:
    """Run a command; a full disk or a forbidden folder gets a sentence too."""
    try:
        return command()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"the local servers cannot use their files: {error}") from error
