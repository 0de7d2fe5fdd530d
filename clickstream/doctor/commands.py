"""`python -m clickstream doctor`: check every server of the settings without changing it.

The code behind a command is imported when the command runs, because its libraries are slow to
import.
"""

import argparse
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from clickstream import cli
from clickstream.clients.addresses import kafka_address, opensearch_address, postgres_address
from clickstream.doctor.checks import Check, CheckStatus, Finding, run_checks
from clickstream.errors import UsageError
from clickstream.pasteable import pasteable
from clickstream.settings import Settings, from_sources
from clickstream.sources import Sources, find


def register(commands: cli.Subparsers) -> None:
    """Register the command."""
    summary = "check the settings, certificates, servers and rights; nothing is changed"
    cli.add_env_file(cli.add_command(commands, "doctor", summary, run))


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; exit status 1 if there is a problem."""
    from clickstream.doctor import position_checks

    cli.start_logging("text")
    try:
        sources = find(arguments.env_file, os.environ)
        settings = from_sources(sources)
    except UsageError as error:
        print(_line(Finding("settings", CheckStatus.PROBLEM, str(error))))
        return cli.FAILED
    problems = 0
    for title, checks in all_checks(settings, sources, datetime.now(UTC)):
        problems += _report(title, checks)
    if not problems:  # they need Kafka and PostgreSQL
        problems += _report("Positions", position_checks.checks(settings))
    print(f"{problems} problem{'s' * (problems > 1)} found." if problems else "All is well.")
    return cli.FAILED if problems else cli.DONE


def _report(title: str, checks: Iterator[Check]) -> int:
    """Run the checks, print their findings, and return the number of problems."""
    print(title)
    problems = 0
    for finding in run_checks(checks):
        print(_line(finding), flush=True)
        problems += finding.status is CheckStatus.PROBLEM
    return problems


def all_checks(
    settings: Settings, sources: Sources, now: datetime
) -> Iterator[tuple[str, Iterator[Check]]]:
    """Yield the checks of the settings and of each server that they name, each with a title."""
    from clickstream.doctor import (
        kafka_checks,
        opensearch_checks,
        postgres_checks,
        settings_checks,
    )

    yield "Settings", settings_checks.checks(settings, sources)
    yield kafka_address(settings), kafka_checks.checks(settings, now)
    yield postgres_address(settings), postgres_checks.checks(settings, now)
    if settings.opensearch_host:
        yield opensearch_address(settings), opensearch_checks.checks(settings, now)


def _line(finding: Finding) -> str:
    return pasteable(f"  {finding.status:<8} {finding.name:<12} {finding.text}")
