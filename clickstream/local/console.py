"""The commands of `python -m clickstream stack` and their output."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from clickstream import cli
from clickstream.admin import setup
from clickstream.env_file import (
    check_writable,
    read_env_file,
    write_env_file,
)
from clickstream.local import stack
from clickstream.local.ports import HOST
from clickstream.local.stack import Condition, Status
from clickstream.settings import DEFAULT_ENV_FILE, Settings
from clickstream.sources import warn_if_overruled

FOLDER = Path(".stack")
WRITTEN_BY = "python -m clickstream stack up"
COMPLETE = (Condition.RUNNING, Condition.UNAVAILABLE)
NEXT_STEPS = """
Next, each in its own terminal:
  python consumer.py
  python producer.py
  python summary.py
Stop the servers: python -m clickstream stack down"""


def up(arguments: argparse.Namespace) -> int:
    """Start the servers that do not run, write `.env`, create tables and topic."""
    check_writable(DEFAULT_ENV_FILE, WRITTEN_BY, arguments.force)
    folder = FOLDER.resolve()
    started = stack.up(folder)
    values = stack.environment(folder)
    backup = write_env_file(DEFAULT_ENV_FILE, values, WRITTEN_BY, arguments.force)
    _print_table(stack.status(folder), started)
    for sentence in setup.apply(_settings(values)):
        print(sentence)
    if backup:
        print(f"The earlier {DEFAULT_ENV_FILE} is kept as {backup}.")
    print(f"The scripts read the addresses and PostgreSQL's password from {DEFAULT_ENV_FILE}.")
    warn_if_overruled(DEFAULT_ENV_FILE, values, os.environ)
    print(NEXT_STEPS)
    return cli.DONE


def down(_: argparse.Namespace) -> int:
    """Stop the servers and print their names."""
    stopped = stack.down(FOLDER.resolve())
    print(f"Stopped: {', '.join(stopped)}." if stopped else "No server was running.")
    return cli.DONE


def status(_: argparse.Namespace) -> int:
    """Print the condition of each server; exit status 1 unless all are running."""
    found = stack.status(FOLDER.resolve())
    _print_table(found)
    for each in found:
        if each.condition in (Condition.DIED, Condition.SILENT):
            print(f"{each.server.title}: {each.condition}; its log is {each.server.log}")
    if all(each.condition in COMPLETE for each in found):
        return cli.DONE
    print("Start the missing servers: python -m clickstream stack up")
    return cli.FAILED


def reset(_: argparse.Namespace) -> int:
    """Delete all data and print what was deleted."""
    folder = FOLDER.resolve()
    found = stack.contents(folder)
    for path in found:
        print(f"Deleting {path} ({_mebibytes(path):.1f} MiB)")
    running = stack.reset(folder)
    if running:
        for sentence in setup.apply(_settings(stack.environment(folder))):
            print(sentence)
        print(f"Running again, empty: {', '.join(running)}.")
    elif not found:
        print("There is nothing to delete.")
    return cli.DONE


def _settings(values: Mapping[str, str]) -> Settings:
    """Return the user's settings with the local servers, which override the environment here."""
    stored = read_env_file(DEFAULT_ENV_FILE)
    return Settings.from_mapping({**stored, **os.environ, **values})


def _print_table(found: list[Status], started: list[str] | None = None) -> None:
    for each in found:
        address = f"{HOST}:{each.port}" if each.port else "-"
        state = "started" if each.server.name in (started or []) else each.condition
        print(f"{each.server.name:<11} {address:<16} {state:<16} {each.server.title}")


def _mebibytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 2**20
