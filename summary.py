#!/usr/bin/env python3
"""Print the report, or check the tables."""

from clickstream.script_start import begin_script

if __name__ == "__main__":
    begin_script()  # before the other imports, which take a moment

import argparse
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from uuid import UUID

from clickstream import cli
from clickstream.clients.postgres import Connection, connect_or_explain, explained_errors
from clickstream.durations import parse_duration, parse_since
from clickstream.errors import UsageError
from clickstream.pasteable import pasteable
from clickstream.report.as_json import as_json
from clickstream.report.models import Report
from clickstream.report.queries import read_report
from clickstream.report.session_detail import SessionDetail, session_detail
from clickstream.report.standard_output import is_screen, prepare_stdout
from clickstream.report.visitor_detail import VisitorDetail, visitor_detail
from clickstream.report.what_if import WhatIf, what_if
from clickstream.settings import Settings, load
from clickstream.signals import Stop
from clickstream.storage.interruptible import interruptible
from clickstream.verify.differences import Differences
from clickstream.verify.stored_sessions import verify_sessions
from clickstream.verify.truth_comparison import compare_with_truth


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; without options the script prints the report."""
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
        help="recompute every session from the stored events and compare; you can leave "
        "consumers running; exit status 1 on any difference",
    )
    group.add_argument(
        "--compare",
        type=Path,
        metavar="TRUTH",
        help="compare the tables with a truth file of the producer; exit status 1 on any "
        "difference",
    )
    group.add_argument(
        "--what-if-timeout",
        type=parse_duration,
        metavar="DURATION",
        help="compare the sessions with those under another timeout (45s, 10m, 1.5h)",
    )
    group.add_argument(
        "--session",
        type=UUID,
        metavar="ID",
        help="one session: its events in order, why it began and why it ended",
    )
    group.add_argument(
        "--visitor", metavar="ID", help="one visitor: the latest sessions, with their ids"
    )


def _add_forms(group: argparse._MutuallyExclusiveGroup) -> None:
    group.add_argument("--json", action="store_true", help="print JSON")
    group.add_argument("--html", type=Path, metavar="FILE", help="write the report to an HTML file")
    group.add_argument(
        "--watch",
        action="store_true",
        help="show the last hour live, filling the terminal, until Ctrl-C",
    )


def check_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError if options cannot be combined."""
    checks = arguments.verify or arguments.compare is not None
    detail = arguments.session is not None or arguments.visitor is not None
    if (arguments.html or arguments.watch) and (checks or detail or arguments.what_if_timeout):
        raise UsageError(
            "--html and --watch cannot be combined with --session, --visitor, --verify, --compare, "
            "--what-if-timeout"
        )
    if arguments.json and checks:
        raise UsageError("--json cannot be combined with --verify, --compare")
    if arguments.since is not None and (checks or detail):
        raise UsageError(
            "--since cannot be combined with --session, --visitor, --verify, --compare"
        )
    if arguments.watch and arguments.since is not None:
        raise UsageError("--watch shows the last hour and cannot be combined with --since")
    if arguments.watch and not is_screen():
        raise UsageError("--watch needs a terminal; without one, run the report again as needed")


def answer(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what the arguments ask for, and return the exit status.

    Raises UserError if the server, the tables or the session asked for are not there.
    """
    check_options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    if arguments.watch:
        from clickstream.report.live_view import watch  # slow to import

        watch(settings, Stop().on_signals())
        return cli.DONE
    with (
        explained_errors(),
        _connection(settings) as connection,
    ):
        if arguments.verify or arguments.compare is not None:
            return _check(settings, connection, arguments)
        _show(settings, connection, arguments)
        return cli.DONE


def _connection(settings: Settings) -> closing[Connection]:
    return closing(connect_or_explain(settings, application="clickstream summary"))


def _check(settings: Settings, connection: Connection, arguments: argparse.Namespace) -> int:
    started = monotonic()
    if arguments.verify:
        with _connection(settings) as second:
            verified = interruptible(connection, lambda: verify_sessions(connection, second))
        return _print_check(verified.differences, verified.lines(monotonic() - started))
    compared = interruptible(connection, lambda: compare_with_truth(connection, arguments.compare))
    return _print_check(compared.differences, compared.lines())


def _print_check(differences: Differences, lines: Sequence[str]) -> int:
    print(pasteable("\n".join(lines)))
    return cli.FAILED if differences.number else cli.DONE


def _show(settings: Settings, connection: Connection, arguments: argparse.Namespace) -> None:
    zone = settings.report_timezone
    if arguments.session is not None:
        detail = interruptible(
            connection, lambda: session_detail(connection, arguments.session, zone)
        )
        _print_figures(detail, json=arguments.json)
    elif arguments.visitor is not None:
        visitor = interruptible(
            connection, lambda: visitor_detail(connection, arguments.visitor, zone)
        )
        _print_figures(visitor, json=arguments.json)
    elif arguments.what_if_timeout is not None:
        timeout, since = arguments.what_if_timeout, arguments.since
        compared = interruptible(connection, lambda: what_if(connection, timeout, since))
        _print_figures(compared, json=arguments.json)
    else:
        report = _report(settings, connection, arguments)
        if arguments.html is not None:
            from clickstream.report.output import write_report  # slow to import

            write_report(report, arguments.html)
        else:
            _print_figures(report, json=arguments.json)


def _report(settings: Settings, connection: Connection, arguments: argparse.Namespace) -> Report:
    since, zone = arguments.since, settings.report_timezone
    charts = arguments.json or arguments.html is not None
    with _connection(settings) as second:
        return interruptible(
            connection, lambda: read_report(connection, second, since, zone, charts=charts)
        )


def _print_figures(figures: Report | SessionDetail | VisitorDetail | WhatIf, *, json: bool) -> None:
    if json:
        print(as_json(figures))
        return
    from clickstream.report.output import print_figures  # slow to import

    print_figures(figures)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    prepare_stdout()
    return cli.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = build_parser().parse_args(argv)
    return answer(load(arguments.env_file), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
