"""The session rule in stored sessions: its boundaries, and late events.

Each scenario has a visitor of its own, and all scenarios are consumed together.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

import pytest

from tests.services import oracle
from tests.services.databases import Query
from tests.services.records import event, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript

MINUTE, HOUR = 60, 3600
TIMEOUT = 30 * MINUTE
MICROSECOND = 0.000001

SIZES = """
    SELECT total_events FROM session_metrics WHERE user_id = %s
    ORDER BY first_event_timestamp, first_event_id
"""


class Scenario(NamedTuple):
    """Events stored before, events that come later, and the sizes of the sessions at the end.

    An event is a second, or a second and a type, or a second, a type and a number (its id).
    """

    before: list[Any]
    later: list[Any]
    sizes: list[int]


BY_GAPS = {
    "a gap of exactly the timeout does not split": Scenario([0], [TIMEOUT], [2]),
    "one microsecond more splits": Scenario([0], [TIMEOUT + MICROSECOND], [1, 1]),
    "both gaps in one batch": Scenario([0, TIMEOUT, 2 * TIMEOUT + MICROSECOND], [], [2, 1]),
    "two sessions in one batch": Scenario([0, 60, 2 * HOUR, 2 * HOUR + 60], [], [2, 2]),
    "three sessions in one batch": Scenario([0, 2 * HOUR, 2 * HOUR + 60, 4 * HOUR], [], [1, 2, 1]),
    "three sessions in a later batch": Scenario([0], [60, 2 * HOUR, 4 * HOUR], [2, 1, 1]),
    "a session continues in a later batch": Scenario([0, 60], [120, 180], [4]),
    "an event 90 minutes late lands in its session": Scenario(
        [0, 300, 100 * MINUTE], [10 * MINUTE], [3, 1]
    ),
    "a late event becomes a session of its own": Scenario([0, 6 * HOUR], [3 * HOUR], [1, 1, 1]),
    "a late event before all others": Scenario([6 * HOUR], [0], [1, 1]),
    "a late event becomes the first of its session": Scenario([HOUR], [HOUR - 600], [2]),
    "a late event of exactly the timeout before": Scenario([HOUR], [HOUR - TIMEOUT], [2]),
    "a late event a microsecond too early": Scenario(
        [HOUR], [HOUR - TIMEOUT - MICROSECOND], [1, 1]
    ),
    "an event between two stored sessions merges them": Scenario(
        [0, 50 * MINUTE], [25 * MINUTE], [3]
    ),
    "two events between three stored sessions merge them": Scenario(
        [0, 50 * MINUTE, 100 * MINUTE], [25 * MINUTE, 75 * MINUTE], [5]
    ),
    "two events merge old sessions": Scenario(
        [0, 50 * MINUTE, 9 * HOUR], [20 * MINUTE, 30 * MINUTE], [4, 1]
    ),
    "an event 25 h later does not change the old session": Scenario([0, 60], [25 * HOUR], [2, 1]),
    "equal timestamps": Scenario([0, 0, 0], [], [3]),
    "equal timestamps in a later batch": Scenario([0, 0], [0, 0], [4]),
    "late events of equal timestamps": Scenario([0, HOUR], [25 * MINUTE] * 3, [4, 1]),
}
BY_TYPES = {
    "a start event begins a session": Scenario([0, (10, "login"), 20], [], [1, 2]),
    "a start event in a later batch": Scenario([0], [(10, "login"), 20], [1, 2]),
    "an end event ends a session": Scenario([0, (10, "logout"), 20], [], [2, 1]),
    "an end event in a later batch": Scenario([0], [(10, "logout"), 20], [2, 1]),
    "an event after a stored end event": Scenario([0, (10, "logout")], [20], [2, 1]),
    "a late event before a stored end event": Scenario([0, (10, "logout")], [5], [3]),
    "a late start event in the middle": Scenario([0, 10, 20], [(15, "login")], [2, 2]),
    "a late end event in the middle": Scenario([0, 10, 20], [(15, "logout")], [3, 1]),
    "a late start event in the middle of an old session": Scenario(
        [0, 10, 20, 9 * HOUR], [(15, "login")], [2, 2, 1]
    ),
    "late start and end events, one after the other": Scenario(
        [0, 10, 20, 30], [(15, "logout"), (16, "login"), (25, "logout")], [3, 3, 1]
    ),
    "a late start event before the first": Scenario([10, 20], [(5, "login")], [3]),
    "a late end event before the first": Scenario([10, 20], [(5, "logout")], [1, 2]),
    "an event between two sessions does not merge them across a start event": Scenario(
        [0, (50 * MINUTE, "login")], [25 * MINUTE], [2, 1]
    ),
    "an end event first among equal timestamps": Scenario(
        [(0, "click", 2), (0, "click", 3)], [(0, "logout", 1)], [1, 2]
    ),
    "a start event last among equal timestamps": Scenario(
        [(0, "click", 1), (0, "click", 2)], [(0, "login", 3)], [2, 1]
    ),
    "several sessions at one timestamp": Scenario(
        [(0, "login", 1), (0, "login", 3)], [(0, "login", 2), (0, "click", 4)], [1, 1, 2]
    ),
}
RULES = {
    "gaps": (BY_GAPS, {}),
    "types": (BY_TYPES, {"SESSION_START_EVENTS": "login", "SESSION_END_EVENTS": "logout"}),
}


@pytest.mark.parametrize("rule", RULES)
def test_sessions_follow_the_rule_when_the_consumer_has_them_in_memory(
    rule: str,
    environment: dict[str, str],
    start_script: StartScript,
    query: Query,
    subtests: pytest.Subtests,
) -> None:
    scenarios, variables = RULES[rule]
    consumer = start_script("consumer.py", **variables)
    before, later = _phases(scenarios)
    send_by_visitor(environment, before)
    wait_until_read(query, len(before))
    send_by_visitor(environment, later)
    wait_until_read(query, len(before) + len(later))
    _check(scenarios, query, subtests)
    assert consumer.is_running
    _check_all({**environment, **variables})


@pytest.mark.parametrize("rule", RULES)
def test_sessions_follow_the_rule_when_the_consumer_has_to_load_them(
    rule: str,
    environment: dict[str, str],
    run_script: RunScript,
    query: Query,
    subtests: pytest.Subtests,
) -> None:
    """Because it was started again before the later events came."""
    scenarios, variables = RULES[rule]
    for events in _phases(scenarios):
        send_by_visitor(environment, events)
        assert run_script("consumer.py", "--drain", **variables).returncode == 0
    _check(scenarios, query, subtests)
    _check_all({**environment, **variables})


def _phases(scenarios: Mapping[str, Scenario]) -> tuple[list[Any], list[Any]]:
    return (
        [_event(name, each) for name, scenario in scenarios.items() for each in scenario.before],
        [_event(name, each) for name, scenario in scenarios.items() for each in scenario.later],
    )


def _event(visitor: str, described: Any) -> Any:
    seconds, kind, *number = described if isinstance(described, tuple) else (described, "click")
    if not number:
        return event(visitor, seconds, kind)
    # Two visitors with the same id and time would be a conflict.
    unique = crc32(visitor.encode()) << 64 | number[0]
    return event(visitor, seconds, kind, event_id=str(UUID(int=unique)))


def _check(scenarios: Mapping[str, Scenario], query: Query, subtests: pytest.Subtests) -> None:
    for name, scenario in scenarios.items():
        with subtests.test(name):
            assert [size for (size,) in query(SIZES, (name,))] == scenario.sizes


def _check_all(environment: Mapping[str, str]) -> None:
    counters = oracle.check(environment)
    assert counters["duplicates"] == counters["rejected"] == 0
