"""Deliberate faults: events sent late, sent twice or without a key, and invalid records.

Invalid records are added to the events. Each has one of the defects for which a consumer rejects
records.
Wrong clocks belong to the visitors (see identities.py); here their events are only counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

import orjson

from clickstream.simulator.event_json import SECOND, OutgoingRecord, SimulatedEvent

Payload = dict[str, Any]

MAX_DUPLICATE_DELAY = 60 * SECOND
EVENT_ID_CONFLICT = "event_id_conflict"
VALUE_TOO_LARGE = "value_too_large"
# A value that is too large has 1 MiB, so this kind occurs only once in this many rounds.
ROUNDS_PER_LARGE_VALUE = 50


@dataclass(frozen=True, slots=True)
class FaultRates:
    """The rate of each fault. late, duplicate, malformed: per event, 0 to 1.

    max_lateness: microseconds. skew: largest error of the visitors' clocks, seconds.
    """

    late: float = 0.0
    max_lateness: int = 5_400 * SECOND
    duplicate: float = 0.0
    malformed: float = 0.0
    skew: float = 0.0
    unkeyed: bool = False


class FaultInjector:
    """Turns events into records, some of them faulty, and counts the faults.

    late, duplicates: events sent late, sent twice. rejected: records that a consumer must reject,
    by reason code. skewed: events with the time of a wrong clock. unkeyed: records without a key.
    """

    def __init__(self, rates: FaultRates, rng: Random) -> None:
        self.late = 0
        self.duplicates = 0
        self.skewed = 0
        self.unkeyed = 0
        self.rejected: Counter[str] = Counter()
        self._rates = rates
        self._rng = rng
        self._kinds = _malformed_kinds(rates, rng)
        self._delayed: list[tuple[int, int, OutgoingRecord]] = []
        self._numbers = count()

    @property
    def any_fault(self) -> bool:
        """Return True if any fault can occur."""
        rates = self._rates
        return bool(rates.late or rates.duplicate or rates.malformed or rates.skew or rates.unkeyed)

    def records(
        self, events: Iterable[SimulatedEvent]
    ) -> Iterable[SimulatedEvent | OutgoingRecord]:
        """Return the records in the order of sending; those still delayed at the end come last."""
        return self._with_faults(events) if self.any_fault else events

    def _with_faults(self, events: Iterable[SimulatedEvent]) -> Iterator[OutgoingRecord]:
        for record in self._in_order(events):
            self.unkeyed += record.key is None
            yield record

    def _in_order(self, events: Iterable[SimulatedEvent]) -> Iterator[OutgoingRecord]:
        delayed = self._delayed
        now = 0
        for event in events:
            now = event.due
            self.skewed += event.time != event.due
            while delayed and delayed[0][0] <= now:
                yield heappop(delayed)[2]
            yield from self._records_of(event)
        while delayed:
            yield heappop(delayed)[2]._replace(due=now)

    def _records_of(self, event: SimulatedEvent) -> Iterator[OutgoingRecord]:
        """Yield the record to send now for an event; delay the others until they are due."""
        rates, rng = self._rates, self._rng
        record = OutgoingRecord(event.due, None if rates.unkeyed else event.key, event.value)
        if rates.late and rng.random() < rates.late:
            self.late += 1
            record = record._replace(due=event.due + rng.randint(1, rates.max_lateness))
            self._delay(record)
        else:
            yield record
        if rates.duplicate and rng.random() < rates.duplicate:
            self.duplicates += 1
            self._delay(record._replace(due=record.due + rng.randint(1, MAX_DUPLICATE_DELAY)))
        if rates.malformed and rng.random() < rates.malformed:
            self._delay(self._malformed(event, record))

    def _malformed(self, event: SimulatedEvent, record: OutgoingRecord) -> OutgoingRecord:
        """Return an invalid record that is derived from an event.

        It is due after the event's own record and has the same key, so that a consumer stores the
        event before it reads a record that conflicts with it.
        """
        kind = next(self._kinds)
        self.rejected[kind] += 1
        key = event.key if kind == "no_value" else record.key
        return OutgoingRecord(record.due, key, MALFORMED_KINDS[kind](event.payload, self._rng))

    def _delay(self, record: OutgoingRecord) -> None:
        heappush(self._delayed, (record.due, next(self._numbers), record))


def _malformed_kinds(rates: FaultRates, rng: Random) -> Iterator[str]:
    """Yield kinds of invalid records without end: all equally often, except the large one."""
    # Records without keys have no order, so the conflicting record could be stored first.
    kinds = [kind for kind in MALFORMED_KINDS if kind != EVENT_ID_CONFLICT or not rates.unkeyed]
    for number in count():
        rng.shuffle(kinds)
        for kind in kinds:
            if kind != VALUE_TOO_LARGE or number % ROUNDS_PER_LARGE_VALUE == 0:
                yield kind


def _with_member(payload: Payload, member: bytes) -> bytes:
    """Return the object as JSON with one more member, which need not be valid JSON."""
    return orjson.dumps(payload)[:-1] + b"," + member + b"}"


def _not_utf8(payload: Payload, _rng: Random) -> bytes:
    return _with_member(payload, b'"note":"\xff\xfe"')


def _not_json(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload)[:-1]


def _nested_too_deep(payload: Payload, _rng: Random) -> bytes:
    return _with_member(payload, b'"note":' + b"[" * 5_000 + b"]" * 5_000)


def _not_an_object(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps([payload])


def _schema_registry_not_json(_payload: Payload, _rng: Random) -> bytes:
    """Return a value of another serializer: byte 0, a schema id of four bytes, no JSON."""
    return b"\0\0\0\0\x01\x02Avro"


def _missing_field(payload: Payload, rng: Random) -> bytes:
    del payload[rng.choice(("event_type", "timestamp", "user_id"))]
    return orjson.dumps(payload)


def _wrong_type(payload: Payload, rng: Random) -> bytes:
    wrong: tuple[Payload, ...] = ({"event_type": ["click"]}, {"user_id": {"id": 1}})
    return orjson.dumps(payload | rng.choice(wrong))


def _too_long(payload: Payload, rng: Random) -> bytes:
    return orjson.dumps(payload | {rng.choice(("user_id", "event_type")): "x" * 257})


def _bad_text(payload: Payload, rng: Random) -> bytes:
    # Of a key that appears twice, the last value counts.
    return _with_member(payload, rng.choice((b'"user_id":"x\\u0000"', b'"event_type":"x\\u0000"')))


def _bad_timestamp(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload | {"timestamp": "yesterday"})


def _timestamp_out_of_range(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload | {"timestamp": "9999-12-31T23:59:59.000000Z"})


def _value_too_large(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload | {"note": "x" * 1_048_576})


def _no_value(_payload: Payload, _rng: Random) -> None:
    return None


def _event_id_conflict(payload: Payload, _rng: Random) -> bytes:
    """Return an event of another visitor with the same id and time."""
    return orjson.dumps(payload | {"user_id": f"not-{payload['user_id']}"})


# Reason code of the consumer: function that returns the value of such a record.
MALFORMED_KINDS: dict[str, Callable[[Payload, Random], bytes | None]] = {
    "not_utf8": _not_utf8,
    "not_json": _not_json,
    "nested_too_deep": _nested_too_deep,
    "not_an_object": _not_an_object,
    "schema_registry_not_json": _schema_registry_not_json,
    "missing_field": _missing_field,
    "wrong_type": _wrong_type,
    "too_long": _too_long,
    "bad_text": _bad_text,
    "bad_timestamp": _bad_timestamp,
    "timestamp_out_of_range": _timestamp_out_of_range,
    VALUE_TOO_LARGE: _value_too_large,
    "no_value": _no_value,
    EVENT_ID_CONFLICT: _event_id_conflict,
}
