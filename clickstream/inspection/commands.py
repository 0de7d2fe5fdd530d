"""`python -m clickstream status` and `find` on the command line.

The code behind a command is imported when the command runs, because its libraries are slow to
import.
"""

import argparse
import logging
import re
from contextlib import closing
from datetime import UTC, datetime

from clickstream import cli
from clickstream.admin.database_command import add_database_command
from clickstream.clients.postgres import connect_or_explain
from clickstream.errors import UsageError
from clickstream.pasteable import pasteable
from clickstream.report.as_json import as_json
from clickstream.settings import load

# Partitions are integer and offsets bigint in PostgreSQL.
LOCATION = re.compile(r"([0-9]{1,9}):([0-9]{1,18})")


def register(commands: cli.Subparsers) -> None:
    """Register the commands."""
    _register_status(commands)
    _register_find(commands)


def _register_status(commands: cli.Subparsers) -> None:
    summary = (
        "show position, lag, watermark and owner of each partition; exit status 1 if records wait "
        "and no consumer runs, or if Kafka cannot be reached"
    )
    status = add_database_command(commands, "status", summary, _status)
    status.add_argument("--json", action="store_true", help="print the status as JSON")


def _register_find(commands: cli.Subparsers) -> None:
    summary = (
        "show if an event, a record or a visitor's events are stored or rejected; exit status 1 if "
        "nothing is found"
    )
    find = add_database_command(commands, "find", summary, _find)
    find.add_argument(
        "what",
        nargs="?",
        type=_utf8,
        metavar="EVENT_ID|PARTITION:OFFSET",
        help="the id of an event, or partition and offset of a record, such as 3:1042",
    )
    find.add_argument("--user", type=_utf8, metavar="ID", help="show the sessions of this visitor")


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("must be UTF-8") from None
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _silence_clients() -> None:
    """Leave out the warnings about unreadable records: nothing is rejected here."""
    logging.getLogger("clickstream.clients").setLevel(logging.CRITICAL)


def _status(arguments: argparse.Namespace) -> int:
    from clickstream.inspection.pipeline_status import read_status
    from clickstream.inspection.status_text import status_lines

    _silence_clients()
    status = read_status(load(arguments.env_file))
    print(as_json(status) if arguments.json else pasteable("\n".join(status_lines(status))))
    if status.kafka_error:
        cli.print_error(status.kafka_error)
    return cli.FAILED if status.kafka_error or status.is_stalled else cli.DONE


def _find(arguments: argparse.Namespace) -> int:
    from clickstream.inspection.event_finder import find_event, find_visitor
    from clickstream.inspection.pipeline_status import APPLICATION
    from clickstream.inspection.record_finder import RecordLocation, find_record

    if (arguments.what is None) == (arguments.user is None):
        raise UsageError("give either an event id, or PARTITION:OFFSET, or --user ID")
    _silence_clients()
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        if arguments.user is not None:
            answer = find_visitor(connection, settings, arguments.user)
        elif found := LOCATION.fullmatch(arguments.what):
            location = RecordLocation(int(found[1]), int(found[2]))
            answer = find_record(connection, settings, location, datetime.now(UTC))
        else:
            answer = find_event(connection, settings, arguments.what)
    print(pasteable("\n".join(answer.lines)))
    return cli.DONE if answer.found else cli.FAILED
