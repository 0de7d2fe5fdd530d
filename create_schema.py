#!/usr/bin/env python3
"""Create the tables, views, topic and index templates. Run it any number of times."""

from clickstream.script_start import begin_script

if __name__ == "__main__":
    begin_script()  # before the other imports, which take a moment

import argparse
from collections.abc import Sequence

from clickstream import cli
from clickstream.admin import rebuild_sessions, setup
from clickstream.admin.accept_reading import accept_reading
from clickstream.clients.addresses import postgres_address
from clickstream.clients.postgres import explained_errors
from clickstream.errors import UsageError
from clickstream.settings import Settings, load
from clickstream.storage import schema


def build_parser() -> argparse.ArgumentParser:
    """Return the parser. Without options the script creates what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_version(parser)
    cli.add_env_file(parser)
    parser.add_argument(
        "--rebuild-sessions",
        action="store_true",
        help="recompute all sessions from the stored events, by the session rule of the settings; "
        "you can leave consumers running",
    )
    parser.add_argument(
        "--reading",
        action="store_true",
        help="accept another EVENT_FIELDS, EVENT_TYPES, MIN_EVENT_TIME or IP_ADDRESSES for records "
        "read from now on; stored events stay as they are",
    )
    parser.add_argument("--drop", action="store_true", help="drop all tables and views")
    parser.add_argument("--yes", action="store_true", help="with --drop: do not ask")
    return parser


def create_schema(arguments: argparse.Namespace) -> int:
    """Create, rebuild or drop, print what was done, and return the exit status."""
    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    if arguments.drop:
        print(_drop(settings, confirmed=arguments.yes))
    elif arguments.rebuild_sessions:
        print(schema.apply_tables(settings))
        print(rebuild_sessions.rebuild_sessions(settings))
    elif arguments.reading:
        print(schema.apply_tables(settings))
        print(accept_reading(settings))
    else:
        for sentence in setup.apply(settings):
            print(sentence)
    return cli.DONE


def _drop(settings: Settings, *, confirmed: bool) -> str:
    if not confirmed:
        raise UsageError(
            f"--drop deletes all events and sessions of {postgres_address(settings)}; add --yes "
            "to do it"
        )
    return schema.drop(settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    return cli.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = build_parser().parse_args(argv)
    with explained_errors():
        return create_schema(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
