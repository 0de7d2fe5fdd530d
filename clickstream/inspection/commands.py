"""`python -m clickstream status` on the command line."""

import argparse
import sys

from clickstream import cli
from clickstream.admin.database_command import add_database_command
from clickstream.inspection.pipeline_status import read_status
from clickstream.inspection.status_text import status_lines
from clickstream.report.as_json import as_json
from clickstream.settings import load


def register(commands: cli.Subparsers) -> None:
    """Register the command."""
    summary = (
        "show position, lag, watermark and owner of each partition; exit status 1 if records wait "
        "and no consumer runs, or if Kafka cannot be reached"
    )
    status = add_database_command(commands, "status", summary, _status)
    status.add_argument("--json", action="store_true", help="print the status as JSON")


def _status(arguments: argparse.Namespace) -> int:
    status = read_status(load(arguments.env_file))
    print(as_json(status) if arguments.json else "\n".join(status_lines(status)))
    if status.kafka_error:
        print(f"error: {status.kafka_error}", file=sys.stderr)
    return cli.FAILED if status.kafka_error or status.is_stalled else cli.DONE
