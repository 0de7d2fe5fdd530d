"""`python -m clickstream doctor`: check every server of the settings without changing it."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime

from clickstream import cli
from clickstream.doctor import kafka_checks, opensearch_checks, postgres_checks
from clickstream.doctor.checks import Check, Finding, Outcome, run_checks
from clickstream.errors import UsageError
from clickstream.settings import Settings, load


def register(commands: cli.Subparsers) -> None:
    """Register the command."""
    summary = "check the settings, certificates, servers and rights; nothing is changed"
    cli.add_env_file(cli.add_command(commands, "doctor", summary, run))


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; exit status 1 if there is a problem."""
    cli.start_logging("text")
    try:
        settings = load(arguments.env_file)
    except UsageError as error:
        print(_line(Finding("settings", Outcome.PROBLEM, str(error))))
        return cli.FAILED
    problems = 0
    for title, checks in checks_by_server(settings, datetime.now(UTC)):
        print(title)
        for finding in run_checks(checks):
            print(_line(finding), flush=True)
            problems += finding.outcome is Outcome.PROBLEM
    print(f"{problems} problem{'s' * (problems > 1)} found." if problems else "All is well.")
    return cli.FAILED if problems else cli.DONE


def checks_by_server(settings: Settings, now: datetime) -> Iterator[tuple[str, Iterator[Check]]]:
    """Yield the title and the checks of each server that the settings name."""
    yield f"Kafka {settings.kafka_bootstrap_servers}", kafka_checks.checks(settings, now)
    address = f"{settings.postgres_host}:{settings.postgres_port}"
    yield f"PostgreSQL {address}", postgres_checks.checks(settings, now)
    if settings.opensearch_host:
        address = f"{settings.opensearch_host}:{settings.opensearch_port}"
        yield f"OpenSearch {address}", opensearch_checks.checks(settings, now)


def _line(finding: Finding) -> str:
    return f"  {finding.outcome:<8} {finding.name:<12} {finding.text}"
