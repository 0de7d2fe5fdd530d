"""Records for the tests: events with chosen fields, random events, and sending them to Kafka."""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from kafka import KafkaProducer

from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings
from tests.services.waiting import DEADLINE_SECONDS, eventually

START = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
TYPES = ("page_view", "click", "scroll", "add_to_cart", "search", "purchase", "login", "logout")
RECORDS_READ = "SELECT coalesce(sum(records), 0)::int FROM stream_positions"


def event(user_id: str, seconds: float, event_type: str = "page_view", **fields: Any) -> Any:
    """Return an event. seconds: its time after START. fields: others, or an event_id."""
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": event_type,
        "timestamp": (START + timedelta(seconds=seconds)).isoformat(),
        "user_id": user_id,
        **fields,
    }


def random_event(user_id: str, seconds: float, chance: Random, **fields: Any) -> Any:
    """Return an event with or without a value for each metric."""
    chosen = {
        "page_url": chance.choice([None, "/", "/a", "/b", "/ü"]),
        "referrer": chance.choice([None, "https://a.example/", "https://b.example/"]),
        "user_agent": chance.choice([None, "Browser 1", "Browser\\2"]),
        "ip_address": chance.choice([None, "192.0.2.1", "2001:db8::1"]),
        "device_type": chance.choice([None, "mobile", "desktop"]),
        "country": chance.choice([None, "NO", "PT"]),
        "product_id": chance.choice([None, "p1", "p2", "p3"]),
        "price": chance.choice([None, 0.1, 19.99, 1234567890.1234]),
        "quantity": chance.choice([None, 1, 3]),
        "order_id": chance.choice([None, "o1", "o2"]),
        "search_query": chance.choice([None, "socks", 'Sök\t"x"']),
        "engaged_ms": chance.choice([None, 0, 1, 12_345]),
    }
    event_id = str(uuid.UUID(int=chance.getrandbits(128)))
    kind = chance.choice(TYPES)
    return event(user_id, seconds, kind, event_id=event_id, **chosen) | fields


def random_events(number: int, visitors: int, seed: int) -> list[Any]:
    """Return events of 11 hours in random order, a tenth of them twice, many gaps above 1800 s."""
    chance = Random(seed)
    events = [
        random_event(f"visitor-{chance.randrange(visitors)}", chance.uniform(0, 40_000), chance)
        for _ in range(number)
    ]
    events += chance.sample(events, number // 10)
    chance.shuffle(events)
    return events


def value_of(content: Any) -> bytes | None:
    """Return the value of a record: an event as JSON, bytes and None unchanged."""
    return json.dumps(content).encode() if isinstance(content, dict) else content


def key_of(content: Any) -> bytes | None:
    """Return the key of a record: the visitor of an event, and none for bytes.

    A record without a value needs a key.
    """
    if content is None:
        return b"a key"
    return str(content.get("user_id")).encode() if isinstance(content, dict) else None


def send(environment: Mapping[str, str], contents: Iterable[Any], partition: int = 0) -> int:
    """Send records to one partition, in order, until all are acknowledged; return their number."""
    return send_keyed(environment, contents, partition=lambda _: partition)


def send_keyed(
    environment: Mapping[str, str],
    contents: Iterable[Any],
    *,
    key: Callable[[Any], bytes | None] = key_of,
    partition: Callable[[Any], int | None] = lambda _: None,
) -> int:
    """Send records until all are acknowledged; return their number.

    key: the key of a content. partition: its partition, or None for the partition of the key.
    """
    settings = Settings.from_mapping(environment)
    # Compressed, so that the broker takes values that are larger than its limit.
    options = {"compression_type": "gzip", "max_request_size": 8 << 20}
    with closing(KafkaProducer(**options, **connection_options(settings))) as producer:
        sent = [
            producer.send(
                settings.kafka_topic, value_of(each), key=key(each), partition=partition(each)
            )
            for each in contents
        ]
        producer.flush()
        for each in sent:
            each.get(timeout=DEADLINE_SECONDS)
    return len(sent)


def send_by_visitor(environment: Mapping[str, str], contents: Iterable[Any]) -> None:
    """Send events in order, those of each visitor to one partition."""
    number = int(environment["KAFKA_TOPIC_PARTITIONS"])
    shares: dict[int, list[Any]] = {}
    for each in contents:
        shares.setdefault(sum(key_of(each) or b"") % number, []).append(each)
    for partition, share in shares.items():
        send(environment, share, partition)


def wait_until_read(
    query: Callable[[str], list[Any]], number: int, seconds: float = DEADLINE_SECONDS
) -> None:
    """Wait until this many records were read and stored; a record read twice counts twice."""
    eventually(lambda: query(RECORDS_READ) == [(number,)], seconds)
