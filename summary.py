#!/usr/bin/env python3
"""Print the report: what the tables say, and whether they are right."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from clickstream import cli
from clickstream.durations import parse_duration, parse_since
from clickstream.report import command
from clickstream.settings import load


def build_parser() -> argparse.ArgumentParser:
    """The options; none of them is needed for the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_version(parser)
    cli.add_env_file(parser)
    parser.add_argument(
        "--since",
        type=parse_since,
        metavar="WHEN",
        help="only events that happened and sessions that began since then: a duration back from "
        "now (90m, 1.5h, 7d) or a time in ISO 8601 (UTC if it has no zone)",
    )
    _add_questions(parser.add_mutually_exclusive_group())
    _add_forms(parser.add_mutually_exclusive_group())
    return parser


def _add_questions(group: argparse._MutuallyExclusiveGroup) -> None:
    group.add_argument(
        "--verify",
        action="store_true",
        help="recompute all sessions from the stored events and compare, also while a consumer "
        "runs; exit status 1 on any difference",
    )
    group.add_argument(
        "--compare",
        type=Path,
        metavar="TRUTH",
        help="compare with the truth file of a producer; exit status 1 on any difference",
    )
    group.add_argument(
        "--what-if-timeout",
        type=parse_duration,
        metavar="DURATION",
        help="the sessions under another timeout (45s, 10m, 1.5h)",
    )
    group.add_argument(
        "--session",
        type=UUID,
        metavar="ID",
        help="one session: its events in order, why it began and why it ended",
    )


def _add_forms(group: argparse._MutuallyExclusiveGroup) -> None:
    group.add_argument("--json", action="store_true", help="print JSON")
    group.add_argument("--html", type=Path, metavar="FILE", help="write the report to an HTML file")
    group.add_argument(
        "--watch", action="store_true", help="refresh the report every 2 seconds until Ctrl-C"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    arguments = build_parser().parse_args(argv)
    # What the terminal's encoding lacks is shown as "?", which is better than no report.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    return cli.run(lambda: command.run(load(arguments.env_file), arguments))


if __name__ == "__main__":
    raise SystemExit(main())
