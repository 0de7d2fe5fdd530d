"""Shared by the benchmarks: servers, an empty topic and database, prepared records."""

import json
import os
import random
import resource
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kafka import KafkaProducer

from clickstream.admin import setup
from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import connect
from clickstream.consumer.consumer import Consumer
from clickstream.consumer.drain import Drain
from clickstream.consumer.health import Health
from clickstream.consumer.metrics import Metrics
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.local.temporary import temporary_stack
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage.schema import apply_tables

# If this variable is set, the server that it names is used instead of a local one.
GIVEN_BY = {
    "kafka": "TEST_KAFKA_BOOTSTRAP_SERVERS",
    "postgres": "TEST_POSTGRES_HOST",
    "opensearch": "TEST_OPENSEARCH_HOST",
}
TYPES = ["page_view"] * 35 + ["click"] * 20 + ["scroll"] * 15 + ["hover"] * 8 + ["purchase"]


@contextmanager
def servers(names: Sequence[str]) -> Iterator[Settings]:
    """Yield settings for servers with a new topic, consumer group and database.

    names: the servers that the benchmark needs, the keys of GIVEN_BY.
    """
    given = {
        name.removeprefix("TEST_"): value
        for name, value in os.environ.items()
        if name.startswith("TEST_")
    }
    missing = [name for name in names if GIVEN_BY[name] not in os.environ]
    fresh = f"bench-{uuid.uuid4().hex[:8]}"
    with ExitStack() as resources:
        folder = Path(resources.enter_context(TemporaryDirectory())) / "servers"
        local = resources.enter_context(temporary_stack(folder, missing)) if missing else {}
        settings = Settings.from_mapping(
            {"POSTGRES_DATABASE": "postgres", "OPENSEARCH_HOST": "", **local, **given}
        )
        settings = replace(settings, kafka_topic=fresh, kafka_group_id=fresh)
        resources.enter_context(_database(settings, fresh))
        settings = replace(settings, postgres_database=fresh)
        apply_tables(settings)
        if "kafka" in names:
            setup.apply_topic(settings)
        setup.apply_search(settings)
        yield settings


@contextmanager
def _database(settings: Settings, name: str) -> Iterator[None]:
    with closing(connect(settings, application="bench")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
            try:
                yield
            finally:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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
            "page_url": f"https://shop.example/products/{chance.randrange(500)}",
            "referrer": "https://search.example/",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Safari/537.36",
            "ip_address": "203.0.113.7",
            "device_type": "desktop",
            "country": "DE",
            "city": "Berlin",
            "product_id": f"product-{chance.randrange(500)}",
            "viewport_size": "1920x1080",
        }
        if event_type == "purchase":
            event |= {"price": 19.99, "quantity": 2, "order_id": f"order-{number}"}
        yield user_id.encode(), json.dumps(event).encode()


def produce(settings: Settings, events: int, visitors: int) -> None:
    """Send the records to the topic and wait until all are sent."""
    options = connection_options(settings)
    with closing(KafkaProducer(linger_ms=20, batch_size=1 << 16, **options)) as producer:
        for key, value in records(events, visitors):
            producer.send(settings.kafka_topic, key=key, value=value)
        producer.flush()


def peak_mib() -> float:
    """Return the largest resident size of this process so far, MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def drain(settings: Settings) -> None:
    """Run a consumer until everything in the topic is stored."""
    now = partial(datetime.now, UTC)
    Consumer(
        settings,
        Stop(),
        Drain(),
        random=random.Random(1),
        now=now,
        metrics=Metrics(now),
        health=Health(),
        new_user_agents=NewUserAgents(),
    ).run()
