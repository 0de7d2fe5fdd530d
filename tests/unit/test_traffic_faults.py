"""Faults on purpose are what they say they are, and nothing else is lost or added."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import orjson
import pytest

from clickstream.model.events import InvalidEventError, parse
from clickstream.simulator.event_json import SECOND, Event, Record
from clickstream.simulator.faults import CONFLICT, KINDS, TOO_LARGE, Faults, Plan
from tests.unit.simulated import live

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return live(5_000)


def run(events: list[Event], plan: Plan) -> tuple[Faults, list[Event | Record]]:
    faults = Faults(plan, Random(5))
    return faults, list(faults.records(events))


def values(events: list[Event]) -> list[bytes]:
    return [event.value for event in events]


def test_without_faults_every_event_is_sent_in_order_keyed_by_its_visitor(
    events: list[Event],
) -> None:
    _, records = run(events, Plan())
    assert [record.value for record in records] == values(events)
    assert all(record.key == event.key for record, event in zip(records, events, strict=True))


def test_late_events_come_behind_others_and_none_is_lost(events: list[Event]) -> None:
    faults, records = run(events, Plan(late=0.1, max_lateness=300 * SECOND))
    assert faults.late == pytest.approx(500, rel=0.2)
    assert Counter(record.value for record in records) == Counter(values(events))
    happened = {event.value: event.due for event in events}
    lateness = [record.due - happened[record.value or b""] for record in records]
    assert sum(late > 0 for late in lateness) == faults.late
    assert max(lateness) <= 300 * SECOND
    assert all(before.due <= record.due for before, record in zip(records, records[1:]))  # noqa: B905, RUF007


def test_what_is_still_held_at_the_end_is_sent_without_waiting(events: list[Event]) -> None:
    _, records = run(events, Plan(late=1.0, max_lateness=10**6 * SECOND))
    assert Counter(record.value for record in records) == Counter(values(events))
    assert max(record.due for record in records) == events[-1].due


def test_duplicates_are_the_same_bytes_again(events: list[Event]) -> None:
    faults, records = run(events, Plan(duplicate=0.1, late=0.1))
    counts = Counter(record.value for record in records)
    assert faults.duplicates == pytest.approx(500, rel=0.2)
    assert counts.total() == len(events) + faults.duplicates
    assert set(counts) == set(values(events))


def test_unkeyed_records_have_no_key(events: list[Event]) -> None:
    faults, records = run(events, Plan(unkeyed=True, duplicate=0.1, late=0.1))
    assert {record.key for record in records} == {None}
    assert faults.unkeyed == len(records)


def test_records_without_a_key_are_counted_one_by_one(events: list[Event]) -> None:
    faults, records = run(events, Plan(unkeyed=True, malformed=0.1))
    # A record with neither key nor value would be nothing at all.
    assert faults.unkeyed == len(records) - faults.rejected["no_value"]
    assert faults.unkeyed == sum(record.key is None for record in records)


def test_events_with_the_time_of_a_wrong_clock_are_counted() -> None:
    events = live(1_000, skew=60)
    faults, records = run(events, Plan(skew=60.0))
    assert [record.value for record in records] == values(events)
    assert faults.skewed == sum(event.time != event.due for event in events)
    assert 900 < faults.skewed <= 1_000


def test_every_kind_comes_and_is_counted_on_top_of_the_events(events: list[Event]) -> None:
    faults, records = run(events, Plan(malformed=0.1))
    assert set(faults.rejected) == set(KINDS)
    assert faults.rejected.total() == pytest.approx(500, rel=0.2)
    assert len(records) == len(events) + faults.rejected.total()
    # A mebibyte each: rare.
    assert faults.rejected[TOO_LARGE] == 1


def test_without_keys_there_is_no_conflict_whose_order_would_be_open(events: list[Event]) -> None:
    faults, _ = run(events, Plan(malformed=0.1, unkeyed=True))
    assert set(faults.rejected) == set(KINDS) - {CONFLICT}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {CONFLICT}))
def test_the_consumer_gives_the_reason_that_the_kind_is_named_by(
    kind: str, events: list[Event]
) -> None:
    rng = Random(1)
    for event in events[:12]:
        with pytest.raises(InvalidEventError) as refused:
            parse(
                KINDS[kind](event.payload, rng),
                origin=("topic", 0, 0),
                latest=NOW + timedelta(hours=1),
            )
        assert refused.value.reason == kind


def test_a_conflict_has_the_time_and_id_of_an_event_of_another_visitor_sent_before(
    events: list[Event],
) -> None:
    _, records = run(events, Plan(malformed=0.3, late=0.3, duplicate=0.3))
    stored: dict[tuple[str, str], tuple[str, bytes | None]] = {}
    conflicts = 0
    for record in records:
        try:
            event = orjson.loads(record.value or b"")
            found = stored.setdefault(
                (event["timestamp"], event["event_id"]), (event["user_id"], record.key)
            )
        except (ValueError, TypeError, KeyError):
            continue
        if event["user_id"] == f"not-{found[0]}":
            conflicts += 1
            assert record.key == found[1]
    assert conflicts > 50
