"""Deliberate faults have the announced effect, and nothing else is lost or added."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import orjson
import pytest

from clickstream.model.events import InvalidEventError
from clickstream.model.parse import parse
from clickstream.simulator.event_json import SECOND, OutgoingRecord, SimulatedEvent
from clickstream.simulator.faults import (
    EVENT_ID_CONFLICT,
    MALFORMED_KINDS,
    VALUE_TOO_LARGE,
    FaultInjector,
    FaultRates,
)
from tests.unit.simulated import live

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def events() -> list[SimulatedEvent]:
    return live(5_000)


def run(
    events: list[SimulatedEvent], rates: FaultRates
) -> tuple[FaultInjector, list[SimulatedEvent | OutgoingRecord]]:
    faults = FaultInjector(rates, Random(5))
    return faults, list(faults.records(events))


def values(events: list[SimulatedEvent]) -> list[bytes]:
    return [event.value for event in events]


def test_without_faults_every_event_is_sent_in_order_keyed_by_its_visitor(
    events: list[SimulatedEvent],
) -> None:
    _, records = run(events, FaultRates())
    assert [record.value for record in records] == values(events)
    assert all(record.key == event.key for record, event in zip(records, events, strict=True))


def test_late_events_are_sent_after_others_and_none_is_lost(events: list[SimulatedEvent]) -> None:
    faults, records = run(events, FaultRates(late=0.1, max_lateness=300 * SECOND))
    assert faults.late == pytest.approx(500, rel=0.2)
    assert Counter(record.value for record in records) == Counter(values(events))
    happened = {event.value: event.due for event in events}
    lateness = [record.due - happened[record.value or b""] for record in records]
    assert sum(late > 0 for late in lateness) == faults.late
    assert max(lateness) <= 300 * SECOND
    assert all(before.due <= record.due for before, record in zip(records, records[1:]))  # noqa: B905, RUF007


def test_records_still_delayed_at_the_end_are_sent_without_waiting(
    events: list[SimulatedEvent],
) -> None:
    _, records = run(events, FaultRates(late=1.0, max_lateness=10**6 * SECOND))
    assert Counter(record.value for record in records) == Counter(values(events))
    assert max(record.due for record in records) == events[-1].due


def test_duplicates_have_the_same_bytes(events: list[SimulatedEvent]) -> None:
    faults, records = run(events, FaultRates(duplicate=0.1, late=0.1))
    counts = Counter(record.value for record in records)
    assert faults.duplicates == pytest.approx(500, rel=0.2)
    assert counts.total() == len(events) + faults.duplicates
    assert set(counts) == set(values(events))


def test_unkeyed_records_have_no_key(events: list[SimulatedEvent]) -> None:
    faults, records = run(events, FaultRates(unkeyed=True, duplicate=0.1, late=0.1))
    assert {record.key for record in records} == {None}
    assert faults.unkeyed == len(records)


def test_records_without_a_key_are_counted(events: list[SimulatedEvent]) -> None:
    faults, records = run(events, FaultRates(unkeyed=True, malformed=0.1))
    # A record without a value keeps its key.
    assert faults.unkeyed == len(records) - faults.rejected["no_value"]
    assert faults.unkeyed == sum(record.key is None for record in records)


def test_events_with_the_time_of_a_wrong_clock_are_counted() -> None:
    events = live(1_000, skew=60)
    faults, records = run(events, FaultRates(skew=60.0))
    assert [record.value for record in records] == values(events)
    assert faults.skewed == sum(event.time != event.due for event in events)
    assert 900 < faults.skewed <= 1_000


def test_invalid_records_of_every_kind_are_added_and_counted(events: list[SimulatedEvent]) -> None:
    faults, records = run(events, FaultRates(malformed=0.1))
    assert set(faults.rejected) == set(MALFORMED_KINDS)
    assert faults.rejected.total() == pytest.approx(500, rel=0.2)
    assert len(records) == len(events) + faults.rejected.total()
    # Each has 1 MiB, so they are rare.
    assert faults.rejected[VALUE_TOO_LARGE] == 1


def test_without_keys_there_are_no_conflicts_because_records_have_no_order(
    events: list[SimulatedEvent],
) -> None:
    faults, _ = run(events, FaultRates(malformed=0.1, unkeyed=True))
    assert set(faults.rejected) == set(MALFORMED_KINDS) - {EVENT_ID_CONFLICT}


@pytest.mark.parametrize("kind", sorted(set(MALFORMED_KINDS) - {EVENT_ID_CONFLICT}))
def test_the_consumer_rejects_each_kind_with_the_reason_of_that_name(
    kind: str, events: list[SimulatedEvent]
) -> None:
    rng = Random(1)
    for event in events[:12]:
        with pytest.raises(InvalidEventError) as refused:
            parse(
                MALFORMED_KINDS[kind](event.payload, rng),
                origin=("topic", 0, 0),
                latest=NOW + timedelta(hours=1),
            )
        assert refused.value.reason == kind


def test_a_conflict_repeats_time_and_id_of_an_event_of_another_visitor_sent_before(
    events: list[SimulatedEvent],
) -> None:
    _, records = run(events, FaultRates(malformed=0.3, late=0.3, duplicate=0.3))
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
