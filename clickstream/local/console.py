"""The commands of `python -m clickstream stack` and their output."""

import argparse
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from clickstream import cli
from clickstream.env_file import (
    check_writable,
    read_env_file,
    write_env_file,
)
from clickstream.local import stack
from clickstream.local.client_lines import client_lines
from clickstream.local.ports import HOST
from clickstream.local.postgres_server import orphaned_folders, remove_orphaned_folder
from clickstream.local.stack import Condition, Status
from clickstream.pasteable import pasteable
from clickstream.settings import DEFAULT_ENV_FILE, Settings
from clickstream.sources import warn_if_overruled

FOLDER = Path(".stack")
WRITTEN_BY = "python -m clickstream stack up"
COMPLETE = (Condition.RUNNING, Condition.UNAVAILABLE)
NEXT_STEPS = """
Next, each in its own terminal:
  python consumer.py
  python producer.py
  python summary.py"""
STOP = """
Stop the servers:
  python -m clickstream stack down"""


def up(arguments: argparse.Namespace) -> int:
    """Start the servers that do not run, write `.env`, create tables and topic."""
    check_writable(DEFAULT_ENV_FILE, WRITTEN_BY, arguments.force)
    folder = FOLDER.resolve()
    started = stack.up(folder)
    values = stack.environment(folder)
    backup = write_env_file(DEFAULT_ENV_FILE, values, WRITTEN_BY, arguments.force)
    _print_table(stack.status(folder), started)
    _create_tables_and_topic(values)
    if backup:
        print(f"The earlier {DEFAULT_ENV_FILE} is kept as {backup}.")
    print(f"The scripts read the addresses and PostgreSQL's password from {DEFAULT_ENV_FILE}.")
    warn_if_overruled(DEFAULT_ENV_FILE, values, os.environ)
    print(pasteable(NEXT_STEPS))
    print_client_lines(folder)
    print(pasteable(STOP))
    return cli.DONE


def down(_: argparse.Namespace) -> int:
    """Stop the servers and print their names."""
    stopped = stack.down(FOLDER.resolve())
    print(f"Stopped: {', '.join(stopped)}." if stopped else "No server was running.")
    return cli.DONE


def status(_: argparse.Namespace) -> int:
    """Print the condition of each server; exit status 1 unless all are running."""
    folder = FOLDER.resolve()
    found = stack.status(folder)
    _print_table(found)
    for each in found:
        if each.condition in (Condition.DIED, Condition.SILENT):
            print(f"{each.server.title}: {each.condition}; its log is {each.server.log}")
    is_complete = all(each.condition in COMPLETE for each in found)
    if is_complete:
        print_client_lines(folder)
    else:
        print(pasteable("Start the missing servers: python -m clickstream stack up"))
    orphaned = orphaned_folders()
    if orphaned:
        print("\nData of stacks whose folder was deleted:")
        _print_sizes(orphaned)
        print(pasteable("Delete it: python -m clickstream stack reset --orphaned"))
    return cli.DONE if is_complete else cli.FAILED


def print_client_lines(folder: Path) -> None:
    """Print lines that look into the servers of a stack."""
    print("\nLook into the servers:")
    for line in client_lines(folder, stack.environment(folder)):
        print(f"  {line}")


def reset(arguments: argparse.Namespace) -> int:
    """Delete all data, after a question, and start the running servers again."""
    if arguments.orphaned:
        return _delete_orphaned(arguments)
    folder = FOLDER.resolve()
    found = stack.contents(folder)
    if not _may_delete(found, arguments):
        return cli.FAILED if found else cli.DONE
    running = stack.reset(folder)
    print("Deleted.")
    if running:
        _create_tables_and_topic(stack.environment(folder))
        print(f"Running again, empty: {', '.join(running)}.")
    return cli.DONE


def _delete_orphaned(arguments: argparse.Namespace) -> int:
    orphaned = orphaned_folders()
    if not _may_delete(orphaned, arguments):
        return cli.FAILED if orphaned else cli.DONE
    for folder, stack_folder in orphaned.items():
        remove_orphaned_folder(folder, stack_folder)
    print("Deleted.")
    return cli.DONE


def _may_delete(folders: Collection[Path], arguments: argparse.Namespace) -> bool:
    """Print the folders, and return True if there are some and the user wants to delete them."""
    if not folders:
        print("There is nothing to delete.")
        return False
    print("To be deleted:")
    _print_sizes(folders)
    question = "Delete this data permanently?"
    if arguments.yes or cli.is_confirmed(
        question, "the data of the local servers would be deleted"
    ):
        return True
    print("Nothing was deleted.")
    return False


def _create_tables_and_topic(values: Mapping[str, str]) -> None:
    """Create what is missing on the local servers, and print a sentence for each."""
    from clickstream.admin import setup  # slow to import

    for sentence in setup.apply(_settings(values)):
        print(sentence)


def _settings(values: Mapping[str, str]) -> Settings:
    """Return the user's settings with the local servers, which override the environment here."""
    stored = read_env_file(DEFAULT_ENV_FILE)
    return Settings.from_mapping({**stored, **os.environ, **values})


def _print_table(found: list[Status], started: list[str] | None = None) -> None:
    for each in found:
        address = f"{HOST}:{each.port}" if each.port else "-"
        state = "started" if each.server.name in (started or []) else each.condition
        print(f"{each.server.name:<11} {address:<16} {state:<16} {each.server.title}")


def _print_sizes(folders: Iterable[Path]) -> None:
    for folder in folders:
        print(f"  {folder} ({_mebibytes(folder):.1f} MiB)")


def _mebibytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 2**20
