#!/usr/bin/env python3
"""Create the tables, views, topic and index templates. Run it any number of times."""

import argparse
from collections.abc import Sequence

from clickstream import cli
from clickstream.admin import rebuild_sessions, setup
from clickstream.clients.addresses import postgres_address
from clickstream.errors import UsageError
from clickstream.settings import load
from clickstream.storage import schema


def build_parser() -> argparse.ArgumentParser:
    """The options; none of them is needed to create what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_version(parser)
    cli.add_env_file(parser)
    parser.add_argument(
        "--rebuild-sessions",
        action="store_true",
        help="recompute all sessions from the stored events, by the rule that the settings ask "
        "for; consumers may run meanwhile",
    )
    parser.add_argument("--drop", action="store_true", help="drop every table and view")
    parser.add_argument("--yes", action="store_true", help="with --drop: do not ask")
    return parser


def create_schema(arguments: argparse.Namespace) -> int:
    """Do what the arguments ask for, saying what was done."""
    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    if arguments.drop:
        if not arguments.yes:
            raise UsageError(
                f"--drop deletes all events and sessions of {postgres_address(settings)}; add "
                "--yes to do it"
            )
        print(schema.drop(settings))
        return cli.DONE
    print(schema.apply_tables(settings))
    if arguments.rebuild_sessions:
        print(rebuild_sessions.rebuild_sessions(settings))
    else:
        print(setup.apply_topic(settings))
        if put := setup.apply_search(settings):
            print(put)
    return cli.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return cli.run(lambda: create_schema(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
