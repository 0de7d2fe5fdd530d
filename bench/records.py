"""The records of the benchmarks: shop traffic, prepared and sent to a topic."""

import json
import random
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka import KafkaProducer

from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings

TYPES = ["page_view"] * 35 + ["click"] * 20 + ["scroll"] * 15 + ["hover"] * 8 + ["purchase"]


def records(events: int, visitors: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of events that end now; each visitor clicks every ten seconds.

    events: number of events. visitors: number of visitors.
    """
    chance = random.Random(1)
    step = timedelta(seconds=10 / visitors)
    time = datetime.now(UTC) - events * step
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


def produce(settings: Settings, events: int, visitors: int) -> None:
    """Send the records to the topic and wait until all are sent."""
    options = connection_options(settings)
    with closing(KafkaProducer(linger_ms=20, batch_size=1 << 16, **options)) as producer:
        for key, value in records(events, visitors):
            producer.send(settings.kafka_topic, key=key, value=value)
        producer.flush()
