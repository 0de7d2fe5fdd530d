"""`python -m clickstream flink` on the command line.

The code behind a command is imported when the command runs, because its libraries are slow to
import.
"""

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from clickstream import cli
from clickstream.clients.postgres import Connection, connect_or_explain, explained_errors
from clickstream.plurals import plural
from clickstream.settings import Settings, load
from clickstream.signals import Stop

APPLICATION = "clickstream flink"
FOLDER = Path(".flink")


def register(commands: cli.Subparsers) -> None:
    """Register the commands."""
    summary = "run the job for Apache Flink, and compare its sessions"
    actions = cli.add_command_group(commands, "flink", summary)
    summary = "run the job of flink/ on this machine until Ctrl-C"
    run = cli.add_command(actions, "run", summary, _run)
    run.add_argument(
        "--bounded",
        action="store_true",
        help="read what is in the topic now, close all sessions, and end",
    )
    cli.add_env_file(run)
    summary = "compare flink_sessions with session_metrics; exit status 1 on any difference"
    cli.add_env_file(cli.add_command(actions, "compare", summary, _compare))


def _run(arguments: argparse.Namespace) -> int:
    from clickstream.flink import run_job

    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    run_job.check_topic(settings)
    with _connection(settings) as connection:
        run_job.create_tables(connection)
    run_job.run(settings, Stop().on_signals(), FOLDER, bounded=arguments.bounded)
    with _connection(settings) as connection:
        print(f"Rows: {run_job.count_rows(connection)}.")
    return cli.DONE


def _compare(arguments: argparse.Namespace) -> int:
    from clickstream.flink.compare_sessions import SessionCounts, compare

    differences = 0
    with _connection(load(arguments.env_file)) as connection:
        for found in compare(connection):
            if isinstance(found, SessionCounts):
                print(found.line())
            else:
                differences += 1
                print(f"- {found}")
    if differences:
        print(f"{differences:,} {plural(differences, 'session')} differ.")
        return cli.FAILED
    print("Every session is the same.")
    return cli.DONE


@contextmanager
def _connection(settings: Settings) -> Iterator[Connection]:
    with (
        explained_errors(),
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
    ):
        yield connection
