"""The consumer with large sessions and many of them: seconds of batches, bytes of memory.

Each scenario stores batches of 10,000 events as the consumer does, in a PostgreSQL of its own or
that of TEST_POSTGRES_*, without Kafka. Run it from the project's folder:

    python -m bench.extremes               all scenarios
    python -m bench.extremes hostile bot   some of them

hostile: a visitor with thousands of texts of 8 KiB in each array clicks in each batch.
bot: a session of 300,000 events continues after a restart.
start: a consumer starts with 200,000 open sessions.
late: 10,000 late events change 10,000 stored sessions.
memory: bytes of each open session of 20 events, and seconds of the work on all of them.
"""

import argparse
import json
import random
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from time import perf_counter
from typing import Any
from uuid import UUID

from bench import results, servers
from bench.records import TYPES
from clickstream import cli
from clickstream.admin.rebuild_sessions import rebuild
from clickstream.clients.postgres import Connection, connect
from clickstream.clients.record_batch import Record
from clickstream.consumer import transaction
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.batch import Batch, parse_batch
from clickstream.consumer.session_cache import SessionCache
from clickstream.model.events import Event
from clickstream.model.parse import parse
from clickstream.model.reading import Reading
from clickstream.model.sessions import Rule, fold
from clickstream.storage import positions, stored_rule
from clickstream.storage.positions import Owner, TopicIdentity

RULE = Rule(timedelta(minutes=30), frozenset(), frozenset())
TOPIC = TopicIdentity("bench", "bench-id")
BATCH_EVENTS = 10_000
NOW = datetime.now(UTC)

# Events of many visitors, without parsing and storing each: one every ten seconds.
INSERT_EVENTS = """
    INSERT INTO clickstream_events
        (event_id, event_time, event_type, user_id, page_url, referrer, user_agent, ip_address,
         device_type, country, product_id)
    SELECT gen_random_uuid(),
           %(first)s + n * interval '10 seconds' + v * interval '1 microsecond',
           (ARRAY['page_view', 'click', 'scroll'])[1 + n %% 3], %(prefix)s || v,
           'https://shop.example/products/' || (n * 7919::bigint + v) %% %(pages)s,
           'https://search.example/', 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0',
           '203.0.113.7', 'desktop', 'DE', 'product-' || n %% 500
    FROM generate_series(0, %(events)s - 1) AS n, generate_series(0, %(visitors)s - 1) AS v
"""


class Consumer:
    """Stores batches of events, as a consumer of one partition does."""

    def __init__(self, connection: Connection) -> None:
        self.cache = SessionCache(RULE)
        self._connection = connection
        with connection, connection.cursor() as cursor:
            version = stored_rule.adopt(cursor, RULE)
        owner = Owner("bench", "bench", None, [connection.info.backend_pid])
        owned = positions.acquire(connection, TOPIC, owner, {0: 0})
        self._assignment = Assignment(TOPIC, owned, version, owner.backends)
        self._offset = owned[0].position

    def store(self, events: Sequence[dict[str, Any]]) -> float:
        """Store a batch, and return the seconds that it took."""
        first = self._offset
        self._offset += len(events)
        records = [
            Record(TOPIC.name, 0, offset, 0, each["user_id"].encode(), json.dumps(each).encode())
            for offset, each in enumerate(events, first)
        ]
        started = perf_counter()
        parsed = parse_batch(Batch({0: records}, {0: self._offset}), now=NOW, reading=Reading())
        progress = transaction.store(
            self._connection,
            self._assignment,
            parsed,
            self.cache,
            now=NOW,
            on_conflict=lambda _: None,
            on_stored=lambda _: None,
        )
        seconds = perf_counter() - started
        self._assignment = self._assignment.advance(progress)
        return seconds


def event(user_id: str, time: datetime, chance: random.Random, **fields: Any) -> dict[str, Any]:
    """Return a new event."""
    return {
        "event_id": str(UUID(int=chance.getrandbits(128), version=4)),
        "event_type": "click",
        "timestamp": time.isoformat(),
        "user_id": user_id,
        "page_url": f"https://shop.example/products/{chance.randrange(500)}",
        "referrer": "https://search.example/",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        "ip_address": "203.0.113.7",
        "device_type": "desktop",
        "country": "DE",
        **fields,
    }


def insert_events(
    connection: Connection,
    prefix: str,
    first: datetime,
    *,
    visitors: int,
    events: int,
    pages: int = 500,
) -> None:
    """Insert events of each visitor, from `first` on every ten seconds, and compute the sessions.

    pages: number of different pages. A visitor's name is the prefix and a number.
    """
    values = {
        "prefix": prefix, "first": first, "visitors": visitors, "events": events, "pages": pages
    }  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute(INSERT_EVENTS, values)
    rebuild(connection, RULE)
    with connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE clickstream_events, session_metrics")


def hostile(connection: Connection) -> Iterator[str]:
    """Compare batches with and without a click of a visitor whose arrays are full."""
    chance = random.Random(1)
    consumer = Consumer(connection)
    times = (NOW + timedelta(seconds=n - 3_600) for n in count())

    def seconds_with(click: dict[str, Any]) -> float:
        """Return the seconds of a batch of this click and those of other visitors."""
        time = next(times)
        others = [
            event(f"user-{chance.randrange(10_000)}", time, chance) for _ in range(BATCH_EVENTS - 1)
        ]
        return consumer.store([*others, {**click, "timestamp": time.isoformat()}])

    for _ in range(3):  # until all visitors have a session
        seconds_with(event("user-0", NOW, chance))
    ordinary = [seconds_with(event("user-0", NOW, chance)) for _ in range(5)]
    yield shown("batches of 10,000 events of 10,000 visitors", ordinary)
    time = next(times)
    for _ in range(20):
        consumer.store([hostile_click(chance, "b", time) for _ in range(500)])
    for first, what in (("c", "not shown"), ("a", "shown")):
        seconds = [seconds_with(hostile_click(chance, first, NOW)) for _ in range(5)]
        yield shown(f"with one event of the hostile visitor whose texts are {what}", seconds)


def hostile_click(chance: random.Random, first: str, time: datetime) -> dict[str, Any]:
    """Return an event with new texts that begin with `first`."""
    text = first + chance.randbytes(4_000).hex()
    kind = chance.choice(["click", "search"])
    texts = dict.fromkeys(("page_url", "product_id", "referrer", "search_query"), text)
    return event("hostile", time, chance, event_type=kind, **texts)


def bot(connection: Connection) -> Iterator[str]:
    """Store batches with one event of a session of 300,000 events, after a restart."""
    chance = random.Random(1)
    first = NOW - timedelta(seconds=300_000 * 10 + 600)
    last = first + timedelta(seconds=10 * 299_999)
    for pages in (500, 5_000):
        prefix = f"bot of {pages} pages "
        insert_events(connection, prefix, first, visitors=1, events=300_000, pages=pages)
        consumer = Consumer(connection)
        seconds = [
            consumer.store(
                [event(f"{prefix}0", last + timedelta(seconds=n), chance)]
                + [event(f"{prefix}{n} {v}", last, chance) for v in range(1_000)]
            )
            for n in range(1, 4)
        ]
        yield shown(f"batches of 1,001 events, one of them of a {prefix}after a restart", seconds)


def start(connection: Connection) -> Iterator[str]:
    """Store the first batches of a consumer with 200,000 open sessions."""
    chance = random.Random(1)
    begin = NOW - timedelta(seconds=200)
    insert_events(connection, "user-", begin, visitors=200_000, events=10)
    consumer = Consumer(connection)
    time = begin + timedelta(seconds=150)
    seconds = [
        consumer.store(
            [event(f"user-{v}", time, chance) for v in chance.sample(range(200_000), BATCH_EVENTS)]
        )
        for _ in range(3)
    ]
    yield shown("first batches of 10,000 events of 10,000 of 200,000 open sessions", seconds)


def late(connection: Connection) -> Iterator[str]:
    """Store a batch of late events, each of which changes another stored session."""
    chance = random.Random(1)
    begin = NOW - timedelta(days=3)
    insert_events(connection, "user-", begin, visitors=50_000, events=20)
    consumer = Consumer(connection)
    time = begin + timedelta(seconds=55)
    seconds = [
        consumer.store([event(f"user-{v}", time, chance) for v in range(n, 50_000, 5)])
        for n in range(3)
    ]
    yield shown("batches of 10,000 late events into 10,000 sessions of 20 events", seconds)


def memory(visitors: int) -> Iterator[str]:
    """Measure the memory of open sessions of 20 events, on shared pages and on pages of their own.

    A text that several sessions have is in memory once.
    """
    caches = []  # all stay in memory, because the largest size of the process is measured
    for where, pages in (("on 1,000 pages of a shop", 1_000), ("each on pages of its own", None)):
        before = _peak_mib()
        started = perf_counter()
        caches.append(cache := _cache_of(visitors, pages))
        filled = perf_counter()
        size = _peak_mib() - before
        yield (
            f"{visitors:,} open sessions of 20 events, {where}: {size:,.0f} MiB, "
            f"{size * 2**20 / visitors:,.0f} bytes each; folded in {filled - started:.0f} s"
        )
    filled = perf_counter()
    cache.evict(NOW - timedelta(days=1))
    yield f"Looking for those of them that ended: {perf_counter() - filled:.2f} s"


def _cache_of(visitors: int, pages: int | None) -> SessionCache:
    """Return a cache with an open session of each visitor; pages: see `parsed_events`."""
    cache = SessionCache(RULE)
    for number in range(visitors):
        (session,) = fold(parsed_events(number, pages), RULE)
        _ = session.session_id  # a stored session has it in memory
        cache._last[session.user_id] = session  # noqa: SLF001
    return cache


def _peak_mib() -> float:
    """Return the largest resident size of this process so far, MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def parsed_events(visitor: int, pages: int | None) -> Iterator[Event]:
    """Yield 20 events of a visitor, on 8 pages and 6 products, as the consumer reads them.

    pages: number of pages that all visitors share; None if each visitor has other pages.
    """
    chance = random.Random(visitor)
    latest = NOW + timedelta(hours=1)
    for number in range(20):
        time = NOW - timedelta(seconds=10 * (20 - number))
        page, product = (
            f"{visitor}-{each}" if pages is None else str((7 * visitor + each) % pages)
            for each in (number % 8, number % 6)
        )
        fields = {
            "event_type": TYPES[number * 4],
            "page_url": f"https://shop.example/products/{page}",
            "product_id": f"product-{product}",
        }
        value = json.dumps(event(f"user-{visitor}", time, chance, **fields)).encode()
        yield parse(value, origin=("bench", 0, number), latest=latest)


def shown(what: str, seconds: Sequence[float]) -> str:
    """Return a line about the seconds of batches."""
    return f"{what}: {', '.join(f'{each:.2f}' for each in seconds)} s"


SCENARIOS: dict[str, Callable[[Connection], Iterator[str]]] = {
    "hostile": hostile,
    "bot": bot,
    "start": start,
    "late": late,
}


@contextmanager
def database() -> Iterator[Connection]:
    """Yield a connection to an empty database with our tables."""
    with (
        servers.servers(["postgres"]) as settings,
        closing(connect(settings, application="bench")) as connection,
    ):
        yield connection


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the results and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*SCENARIOS, "memory"]
    parser.add_argument("scenarios", nargs="*", help=f"{', '.join(names)}; default: all")
    parser.add_argument(
        "--visitors", type=int, default=100_000, help="of memory; default: %(default)s"
    )
    arguments = parser.parse_args(argv)
    for name in arguments.scenarios:
        if name not in names:
            parser.error(f"there is no scenario {name!r}; choose from {', '.join(names)}")
    return cli.run(lambda: _run(arguments.scenarios or names, arguments.visitors))


def _run(names: Sequence[str], visitors: int) -> int:
    for name in names:
        if name == "memory":
            lines = list(memory(visitors))
        else:
            with database() as connection:
                lines = list(SCENARIOS[name](connection))
        results.keep(f"Extremes: {name}", [f"- {line[0].upper()}{line[1:]}." for line in lines])
    return cli.DONE


if __name__ == "__main__":
    raise SystemExit(main())
