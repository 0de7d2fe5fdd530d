"""Faults on purpose: events that come late, twice, without a key, and records that are no events.

Malformed records come on top of the events, of every kind that the consumer knows a reason for.
Wrong clocks are a matter of the visitors (see identities) and only counted here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

import orjson

from clickstream.simulator.event_json import SECOND, Event, Record

Payload = dict[str, Any]

LONGEST_REPEAT = 60 * SECOND
CONFLICT = "event_id_conflict"
TOO_LARGE = "value_too_large"
# A mebibyte each: only in some of the rounds through the kinds.
ROUNDS_PER_LARGE_ONE = 50
NOT_JSON_NUMBERS = (b"NaN", b"Infinity", b"-Infinity")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much goes wrong: shares of the events, 0 to 1.

    max_lateness: microseconds. skew: how wrong the visitors' clocks are at most, seconds.
    """

    late: float = 0.0
    max_lateness: int = 5_400 * SECOND
    duplicate: float = 0.0
    malformed: float = 0.0
    skew: float = 0.0
    unkeyed: bool = False


class Faults:
    """Turns events into records, some of them faulty, and counts what it did.

    rejected: how many records a consumer has to refuse, by reason. skewed: how many events have
    the time of a wrong clock. unkeyed: how many records have no key.
    """

    def __init__(self, plan: Plan, rng: Random) -> None:
        self.late = 0
        self.duplicates = 0
        self.skewed = 0
        self.unkeyed = 0
        self.rejected: Counter[str] = Counter()
        self._plan = plan
        self._rng = rng
        self._kinds = _rounds(plan, rng)
        self._held: list[tuple[int, int, Record]] = []
        self._numbers = count()

    @property
    def planned(self) -> bool:
        """Whether anything is to go wrong."""
        plan = self._plan
        return bool(plan.late or plan.duplicate or plan.malformed or plan.skew or plan.unkeyed)

    def records(self, events: Iterable[Event]) -> Iterable[Event | Record]:
        """The records in the order of sending; what is held when the events end comes last."""
        return self._faulty(events) if self.planned else events

    def _faulty(self, events: Iterable[Event]) -> Iterator[Record]:
        for record in self._in_order(events):
            self.unkeyed += record.key is None
            yield record

    def _in_order(self, events: Iterable[Event]) -> Iterator[Record]:
        held = self._held
        now = 0
        for event in events:
            now = event.due
            self.skewed += event.time != event.due
            while held and held[0][0] <= now:
                yield heappop(held)[2]
            yield from self._of(event)
        while held:
            yield heappop(held)[2]._replace(due=now)

    def _of(self, event: Event) -> Iterator[Record]:
        """What is sent at once for an event; the rest is held until it is due."""
        plan, chance = self._plan, self._rng.random
        record = Record(event.due, None if plan.unkeyed else event.key, event.value)
        if plan.late and chance() < plan.late:
            self.late += 1
            record = record._replace(due=event.due + self._rng.randint(1, plan.max_lateness))
            self._hold(record)
        else:
            yield record
        if plan.duplicate and chance() < plan.duplicate:
            self.duplicates += 1
            self._hold(record._replace(due=record.due + self._rng.randint(1, LONGEST_REPEAT)))
        if plan.malformed and chance() < plan.malformed:
            kind = next(self._kinds)
            self.rejected[kind] += 1
            # After its event and with its key, so that a conflict finds the event stored before.
            self._hold(
                Record(
                    record.due,
                    event.key if kind == "no_value" else record.key,
                    KINDS[kind](event.payload, self._rng),
                )
            )

    def _hold(self, record: Record) -> None:
        heappush(self._held, (record.due, next(self._numbers), record))


def _rounds(plan: Plan, rng: Random) -> Iterator[str]:
    """The kinds of malformed records without end, each as often as the others but the large one."""
    # Without a key, records of one visitor have no order: the conflict could be stored first.
    kinds = [kind for kind in KINDS if kind != CONFLICT or not plan.unkeyed]
    for number in count():
        rng.shuffle(kinds)
        for kind in kinds:
            if kind != TOO_LARGE or number % ROUNDS_PER_LARGE_ONE == 0:
                yield kind


def _extended(payload: Payload, member: bytes) -> bytes:
    """The object with one more member, given as JSON or something like it."""
    return orjson.dumps(payload)[:-1] + b"," + member + b"}"


def _not_utf8(payload: Payload, _rng: Random) -> bytes:
    return _extended(payload, b'"note":"\xff\xfe"')


def _not_json(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload)[:-1]


def _nested_too_deep(payload: Payload, _rng: Random) -> bytes:
    return _extended(payload, b'"note":' + b"[" * 5_000 + b"]" * 5_000)


def _not_an_object(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps([payload])


def _missing_field(payload: Payload, rng: Random) -> bytes:
    del payload[rng.choice(("event_type", "timestamp", "user_id"))]
    return orjson.dumps(payload)


def _wrong_type(payload: Payload, rng: Random) -> bytes:
    wrong: tuple[Payload, ...] = (
        {"event_type": ["click"]},
        {"user_id": {"id": 1}},
        {"page_url": 42},
        {"success": "yes"},
    )
    return orjson.dumps(payload | rng.choice(wrong))


def _too_long(payload: Payload, rng: Random) -> bytes:
    field, characters = rng.choice((("user_id", 257), ("event_type", 257), ("page_url", 8_193)))
    return orjson.dumps(payload | {field: "x" * characters})


def _bad_text(payload: Payload, rng: Random) -> bytes:
    return _extended(payload, rng.choice((b'"search_query":"\\u0000"', b'"note":"\\ud800"')))


def _bad_ip(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload | {"ip_address": "300.1.2.3"})


def _not_a_number(payload: Payload, rng: Random) -> bytes:
    return _extended(payload, b'"price":' + rng.choice(NOT_JSON_NUMBERS))


def _number_out_of_range(payload: Payload, rng: Random) -> bytes:
    wrong = ({"quantity": 0}, {"quantity": 1_000_001}, {"price": 10**10}, {"price": 0.00001})
    return orjson.dumps(payload | rng.choice(wrong))


def _bad_timestamp(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload | {"timestamp": "yesterday"})


def _timestamp_out_of_range(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload | {"timestamp": "9999-12-31T23:59:59.000000Z"})


def _value_too_large(payload: Payload, _rng: Random) -> bytes:
    return orjson.dumps(payload | {"note": "x" * 1_048_576})


def _no_value(_payload: Payload, _rng: Random) -> None:
    return None


def _event_id_conflict(payload: Payload, _rng: Random) -> bytes:
    """The id and time of an event that another visitor has."""
    return orjson.dumps(payload | {"user_id": f"not-{payload['user_id']}"})


# By the reason that a consumer gives.
KINDS: dict[str, Callable[[Payload, Random], bytes | None]] = {
    "not_utf8": _not_utf8,
    "not_json": _not_json,
    "nested_too_deep": _nested_too_deep,
    "not_an_object": _not_an_object,
    "missing_field": _missing_field,
    "wrong_type": _wrong_type,
    "too_long": _too_long,
    "bad_text": _bad_text,
    "bad_ip": _bad_ip,
    "not_a_number": _not_a_number,
    "number_out_of_range": _number_out_of_range,
    "bad_timestamp": _bad_timestamp,
    "timestamp_out_of_range": _timestamp_out_of_range,
    TOO_LARGE: _value_too_large,
    "no_value": _no_value,
    CONFLICT: _event_id_conflict,
}
