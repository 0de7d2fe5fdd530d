"""Events with a value that the consumer repairs, beside those of the producer.

Each visitor here has one session. The simulator's truth writer writes the sessions that must be
stored; it gets the events as they are after their repair.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, SimulatedEvent, microseconds, timestamp
from clickstream.simulator.truth import TruthWriter

VISITORS = 8
EVENTS_PER_VISITOR = 6
START = microseconds(datetime(2025, 6, 2, 7, tzinfo=UTC))
LONG = "/" + "x" * 9_000


class Repair(NamedTuple):
    """Fields of an event as they are sent and as they are stored, and the name of the repaired."""

    name: str
    sent: dict[str, Any]
    stored: dict[str, Any]


PURCHASE = {"event_type": "purchase", "product_id": "p1", "quantity": 1, "price": 19.99}
REPAIRS = (
    Repair("page_url", {"page_url": "/a\0b"}, {"page_url": "/a\ufffdb"}),
    Repair("page_url", {"page_url": "/\ud800"}, {"page_url": "/\ufffd"}),
    Repair("page_url", {"page_url": LONG}, {"page_url": LONG[:8192]}),
    Repair("price", PURCHASE | {"price": 19.990049}, PURCHASE),
    Repair("quantity", PURCHASE | {"quantity": "many"}, PURCHASE),
    Repair("country", {"country": {"code": "NO"}}, {}),
    Repair("ip_address", {"ip_address": "not an address"}, {}),
    Repair("success", {"event_type": "login", "success": "perhaps"}, {"event_type": "login"}),
    Repair("properties", {"note": float("nan")}, {}),
)


class Record(NamedTuple):
    """A record to send."""

    partition: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class RepairedEvents:
    """Records to send, in random order and some of them twice.

    fields: numbers of events by repaired field.
    """

    records: list[Record]
    stored: list[SimulatedEvent]
    duplicates: int
    fields: Counter[str]

    def write_truth(self, path: Path, settings: Settings) -> None:
        """Write the truth file of these events, by the session rule of these settings."""
        writer = TruthWriter(
            path,
            timeout=settings.session_timeout_seconds,
            start_events=settings.session_start_events,
            end_events=settings.session_end_events,
        )
        for _ in writer.observe(self.stored):
            pass
        writer.write(duplicates=self.duplicates, rejected={})


def make_repaired_events(seed: int, partitions: int, *, random_keys: bool) -> RepairedEvents:
    """Return the events of a seed. random_keys: those of a visitor are in several partitions."""
    rng = Random(f"repaired {seed}")
    made = RepairedEvents([], [], 0, Counter())
    twice = []
    for number, visitor in _order():
        repair = rng.choice(REPAIRS)
        sent, stored = _pair(f"repaired-{visitor}", number * VISITORS + visitor, repair, rng)
        partition = rng.randrange(partitions) if random_keys else visitor % partitions
        record = Record(partition, b"repaired-%d" % visitor, json.dumps(sent).encode())
        made.records.append(record)
        made.stored.append(stored)
        made.fields[repair.name] += 1
        if rng.random() < 0.2:
            twice.append(record)
    records = made.records + twice
    rng.shuffle(records)
    return RepairedEvents(records, made.stored, len(twice), made.fields)


def merge_truth_files(first: Path, second: Path, merged: Path) -> dict[str, Any]:
    """Write the sum of two truth files with the same rule, and return it without the sessions."""
    both = [json.loads(path.read_text(encoding="utf-8")) for path in (first, second)]
    head = both[0] | {
        name: both[0][name] + both[1][name] for name in ("events", "duplicates", "sessions")
    }
    merged.write_text(json.dumps(head), encoding="utf-8")
    return {name: value for name, value in head.items() if name != "sessions"}


def _order() -> Iterator[tuple[int, int]]:
    """Yield the number of the event and of its visitor, in the order of time."""
    for number in range(EVENTS_PER_VISITOR):
        for visitor in range(VISITORS):
            yield number, visitor


def _pair(
    user_id: str, seconds: int, repair: Repair, rng: Random
) -> tuple[dict[str, Any], SimulatedEvent]:
    """Return an event as it is sent, and as it is stored."""
    time = START + seconds * SECOND
    event = {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128))),
        "event_type": "page_view",
        "timestamp": timestamp(time),
        "user_id": user_id,
        "page_url": "/",
        "order_id": f"order-{rng.randrange(3)}",
    }
    # The truth has these fields of each visitor.
    unknown = dict.fromkeys(("user_agent", "ip_address", "device_type", "country"))
    stored = json.dumps(event | unknown | repair.stored).encode()
    return event | repair.sent, SimulatedEvent(time, time, user_id.encode(), stored)
