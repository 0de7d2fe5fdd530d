"""`python -m clickstream doctor`: check every server of the settings without changing it."""

import argparse
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from clickstream import cli
from clickstream.doctor import kafka_checks, opensearch_checks, postgres_checks
from clickstream.doctor.checks import Check, Finding, Verdict, carry_out
from clickstream.errors import UsageError
from clickstream.settings import Settings, load


def register(commands: cli.Subparsers) -> None:
    """Register the command."""
    summary = "check the settings, certificates, servers and rights; nothing is changed"
    cli.add_env_file(cli.add_command(commands, "doctor", summary, run))


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; exit status 1 where there is a problem."""
    # The clients' own words would only repeat what is printed here.
    logging.disable()
    try:
        settings = load(arguments.env_file)
    except UsageError as error:
        print(_line(Finding("settings", Verdict.PROBLEM, str(error))))
        return cli.FAILED
    problems = 0
    for title, checks in examinations(settings, datetime.now(UTC)):
        print(title)
        for finding in carry_out(checks):
            print(_line(finding), flush=True)
            problems += finding.verdict is Verdict.PROBLEM
    print(f"{problems} problem{'s' * (problems > 1)} found." if problems else "All is well.")
    return cli.FAILED if problems else cli.DONE


def examinations(settings: Settings, now: datetime) -> Iterator[tuple[str, Iterator[Check]]]:
    """Each server with its checks."""
    yield f"Kafka {settings.kafka_bootstrap_servers}", kafka_checks.checks(settings, now)
    place = f"{settings.postgres_host}:{settings.postgres_port}"
    yield f"PostgreSQL {place}", postgres_checks.checks(settings, now)
    if settings.opensearch_host:
        place = f"{settings.opensearch_host}:{settings.opensearch_port}"
        yield f"OpenSearch {place}", opensearch_checks.checks(settings, now)


def _line(finding: Finding) -> str:
    return f"  {finding.verdict:<8} {finding.name:<12} {finding.text}"
