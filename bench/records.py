"""The records of the benchmarks: shop traffic, prepared and sent to a topic."""

import json
import random
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka import KafkaProducer

from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings

HELD_MS = 300_000
TYPES = ["page_view"] * 35 + ["click"] * 20 + ["scroll"] * 15 + ["hover"] * 8 + ["purchase"]


def records(
    events: int, visitors: int, end: datetime | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of events; each visitor clicks every ten seconds, on average.

    events: number of events. visitors: number of visitors. end: time of the last event; now if
    None.
    """
    chance = random.Random(1)
    step = timedelta(seconds=10 / visitors)
    time = (end or datetime.now(UTC)) - events * step
    for number in range(events):
        time += step
        user_id = f"user-{chance.randrange(visitors)}"
        event_type = chance.choice(TYPES)
        event: dict[str, Any] = {
            "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "event_type": event_type,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "user_id": user_id,
            "page_url": f"https://shop.example/p/{chance.randrange(500)}",
            "referrer": "https://search.example/",
            "user_agent": f"Mozilla/5.0 (Linux) Firefox/{chance.randrange(120, 150)}.0",
            "ip_address": "203.0.113.7",
            "country": "DE",
            "product_id": f"product-{chance.randrange(500)}",
        }
        if event_type == "purchase":
            event |= {"price": 19.99, "quantity": 2, "order_id": f"order-{number}"}
        yield user_id.encode(), json.dumps(event, separators=(",", ":")).encode()


def produce(settings: Settings, events: int, visitors: int, end: datetime | None = None) -> None:
    """Send the records to the topic and wait until all are sent; for the numbers see `records`."""
    with closing(_producer(settings)) as producer:
        _send(producer, settings.kafka_topic, records(events, visitors, end))
        producer.flush()


@contextmanager
def held_back(settings: Settings, events: int, visitors: int) -> Iterator[Callable[[], None]]:
    """Send the records in a transaction, and yield a function that lets consumers read them.

    It must be called within HELD_MS. The broker must know transactions: the local one does not.
    """
    options = {"transactional_id": settings.kafka_topic, "transaction_timeout_ms": HELD_MS}
    with closing(_producer(settings, **options)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        _send(producer, settings.kafka_topic, records(events, visitors))
        producer.flush()
        yield producer.commit_transaction


def _producer(settings: Settings, **options: Any) -> KafkaProducer:
    return KafkaProducer(
        linger_ms=20, batch_size=1 << 16, **options, **connection_options(settings)
    )


def _send(producer: KafkaProducer, topic: str, sent: Iterable[tuple[bytes, bytes]]) -> None:
    for key, value in sent:
        producer.send(topic, key=key, value=value)
