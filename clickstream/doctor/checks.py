"""A check, what it finds, and how a row of them is carried out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from clickstream.errors import UserError


class Verdict(StrEnum):
    """What a check came to, as it is printed."""

    FINE = "ok"
    PROBLEM = "PROBLEM"
    SKIPPED = "-"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at."""

    name: str
    run: Callable[[], str]  # what it saw; UserError: the problem and its cure, in one sentence
    vital: bool = True  # without it the checks that follow make no sense


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check."""

    name: str
    verdict: Verdict
    text: str


def carry_out(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run the checks in order, up to the first vital one that finds a problem."""
    stopped = False
    for check in checks:
        finding = Finding(check.name, Verdict.SKIPPED, "not looked at") if stopped else _run(check)
        stopped = stopped or (check.vital and finding.verdict is Verdict.PROBLEM)
        yield finding


def _run(check: Check) -> Finding:
    try:
        return Finding(check.name, Verdict.FINE, check.run())
    except UserError as error:
        return Finding(check.name, Verdict.PROBLEM, str(error))
