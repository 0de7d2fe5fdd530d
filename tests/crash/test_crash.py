"""Consumers that crash at any step, freeze, join and leave, on servers that crash as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clickstream.local import search_server
from tests.crash.history import run_history
from tests.crash.schedule import POINTS_OF_A_BATCH, make_schedule
from tests.crash.servers import Servers, running_servers

EVENTS = 1_500
# Three consumers store events of the same visitors; they are killed at three steps of a batch, and
# all at once.
SEED = 18


@pytest.fixture(scope="module")
def crash_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of these tests, which may be killed."""
    if not search_server.is_available():
        pytest.skip("no OpenSearch-compatible server for this platform")
    with running_servers(tmp_path_factory.mktemp("crash") / "servers") as servers:
        yield servers


@pytest.mark.long
def test_the_tables_and_the_index_are_exact_after_any_history_of_crashes(
    crash_servers: Servers, tmp_path: Path
) -> None:
    """A failure prints the schedule; `make crash` and `.ci/run` run more histories."""
    outcome = run_history(make_schedule(SEED, events=EVENTS), crash_servers, tmp_path)
    assert not outcome.differences, "\n".join(outcome.lines())


def test_consumers_are_killed_at_each_step_of_a_batch_with_any_keys() -> None:
    schedules = [make_schedule(seed, events=EVENTS) for seed in range(10)]
    points = {action.point for schedule in schedules for action in schedule.actions}
    assert points.issuperset(POINTS_OF_A_BATCH)
    assert {schedule.random_keys for schedule in schedules} == {False, True}


def test_the_same_seed_makes_the_same_schedule() -> None:
    first, second = (make_schedule(7, events=EVENTS) for _ in range(2))
    assert first == second
    assert first != make_schedule(8, events=EVENTS)
