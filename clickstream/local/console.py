"""What `python -m clickstream stack` does and prints."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from clickstream import cli
from clickstream.admin import setup
from clickstream.env_file import check_writable, warn_if_overruled, write_env_file
from clickstream.local import stack
from clickstream.local.ports import HOST
from clickstream.local.stack import Condition, Status
from clickstream.settings import DEFAULT_ENV_FILE, Settings

FOLDER = Path(".stack")
WRITTEN_BY = "python -m clickstream stack up"
FINE = (Condition.RUNNING, Condition.UNAVAILABLE)
NEXT_STEPS = """
Next, each in a terminal of its own:
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
        print(f"The {DEFAULT_ENV_FILE} that was there is kept as {backup}.")
    print(
        f"The scripts find the servers by {DEFAULT_ENV_FILE}, where PostgreSQL's password is too."
    )
    warn_if_overruled(DEFAULT_ENV_FILE, values, os.environ)
    print(NEXT_STEPS)
    return cli.DONE


def down(_: argparse.Namespace) -> int:
    """Stop the servers."""
    stopped = stack.down(FOLDER.resolve())
    print(f"Stopped: {', '.join(stopped)}." if stopped else "No server was running.")
    return cli.DONE


def status(_: argparse.Namespace) -> int:
    """Show each server; fail unless all run."""
    found = stack.status(FOLDER.resolve())
    _print_table(found)
    for each in found:
        if each.condition in (Condition.DIED, Condition.SILENT):
            print(f"{each.server.title}: {each.condition}; its log is {each.server.log}")
    if all(each.condition in FINE for each in found):
        return cli.DONE
    print("Start what does not run: python -m clickstream stack up")
    return cli.FAILED


def reset(_: argparse.Namespace) -> int:
    """Delete everything in the servers, saying what."""
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
    """The user's settings, but on these servers whatever the environment says."""
    stored = dotenv_values(DEFAULT_ENV_FILE, interpolate=False)
    filled = {name: value for name, value in stored.items() if value is not None}
    return Settings.from_mapping({**filled, **os.environ, **values})


def _print_table(found: list[Status], started: list[str] | None = None) -> None:
    for each in found:
        place = f"{HOST}:{each.port}" if each.port else "-"
        state = "started" if each.server.name in (started or []) else each.condition
        print(f"{each.server.name:<11} {place:<16} {state:<16} {each.server.title}")


def _mebibytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 2**20
