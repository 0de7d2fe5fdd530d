"""Checks, their findings, and the order in which they run."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from clickstream.errors import UserError


class CheckStatus(StrEnum):
    """The result of a check, as it is printed."""

    OK = "ok"
    PROBLEM = "PROBLEM"
    SKIPPED = "-"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to check.

    run: returns a description of what was found, or raises UserError with the problem and the
    remedy.
    vital: if this check finds a problem, the checks after it are skipped.
    """

    name: str
    run: Callable[[], str]
    vital: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, and its description."""

    name: str
    status: CheckStatus
    text: str


def run_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run the checks in order; those after a problem of a vital check are skipped."""
    stopped = False
    for check in checks:
        finding = (
            Finding(check.name, CheckStatus.SKIPPED, "not checked") if stopped else _run(check)
        )
        stopped = stopped or (check.vital and finding.status is CheckStatus.PROBLEM)
        yield finding


def _run(check: Check) -> Finding:
    try:
        return Finding(check.name, CheckStatus.OK, check.run())
    except UserError as error:
        return Finding(check.name, CheckStatus.PROBLEM, str(error))
