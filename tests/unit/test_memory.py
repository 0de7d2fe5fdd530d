"""The garbage collector: off during imports; in the consumer it rarely runs, and finds little."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import consumer
from clickstream import cli
from clickstream.consumer.memory import NEW_OBJECTS, collect_rarely
from clickstream.model.sessions import Rule, Session, fold, row_of
from tests.unit.parsing import event_with

SCRIPT = """
import gc
from clickstream.script_start import begin_script
begin_script()
print(gc.isenabled(), gc.get_freeze_count() > 0)
from clickstream import cli
cli.run(lambda: print(gc.isenabled(), gc.get_freeze_count() > 0))
"""
RULE = Rule(timedelta(minutes=30), frozenset(), frozenset())


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The number of unreachable objects that each run of the collector found."""
    found: list[int] = []

    def observe(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop":
            found.append(info["collected"])

    thresholds = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(observe)
    yield found
    gc.callbacks.remove(observe)
    gc.set_threshold(*thresholds)


def sessions_of(visitors: int) -> list[Session]:
    """Return a session with a purchase of each visitor."""
    values = {"event_type": "purchase", "price": 1, "order_id": "o", "page_url": "/a", "x": {}}
    return [
        session
        for number in range(visitors)
        for session in fold([event_with(user_id=str(number), **values)], RULE)
    ]


def test_the_collector_does_not_run_while_a_batch_is_folded(collections: list[int]) -> None:
    collect_rarely()
    sessions = sessions_of(5_000)
    assert len(sessions) == 5_000
    assert collections == []


def test_sessions_and_events_are_freed_without_the_collector(collections: list[int]) -> None:
    gc.set_threshold(0)
    sessions = sessions_of(100)
    row_of(sessions[0], RULE)
    del sessions
    gc.collect()
    assert collections == [0]


def test_reference_cycles_of_libraries_are_still_freed(collections: list[int]) -> None:
    collect_rarely()
    for _ in range(NEW_OBJECTS + 10):
        cycle: list[Any] = []
        cycle.append(cycle)
    assert sum(collections) >= NEW_OBJECTS / 2


@pytest.mark.usefixtures("collections")
def test_the_consumer_sets_its_collector_before_anything_else() -> None:
    assert consumer.main(["--env-file", "no-such-file"]) == cli.MISUSE
    assert gc.get_threshold()[0] == NEW_OBJECTS


def test_a_script_collects_garbage_but_not_during_its_imports() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["False False", "True True"], done.stderr
