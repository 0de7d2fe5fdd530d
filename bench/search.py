"""How fast the index follows, and what that costs the consumer.

1. Documents per second of the indexer, from PostgreSQL into OpenSearch, as a share of what
opensearchpy's parallel_bulk does with the same documents ready in memory, to the same server, in
turns. 2. Events per second of the consumer with the indexer, as a share of those without, where
the search server costs next to nothing (bench/null_search.py).

The servers are local ones of the benchmark alone, or those of TEST_KAFKA_BOOTSTRAP_SERVERS,
TEST_POSTGRES_HOST and TEST_OPENSEARCH_HOST. Run from the project's folder: python -m bench.search
"""

import argparse
import random
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from statistics import median
from time import perf_counter, time_ns

import orjson
from opensearchpy.helpers import parallel_bulk

from bench import support
from bench.null_search import null_search
from bench.pipeline import Clock
from clickstream import cli
from clickstream.clients import opensearch
from clickstream.clients.postgres import connect
from clickstream.consumer import batch
from clickstream.consumer.drain import Drain
from clickstream.consumer.loop import Consumer
from clickstream.indexer import checkpoint, document_reader, indexes
from clickstream.indexer.backlog import wait_until_indexed
from clickstream.indexer.indexer import running_indexer
from clickstream.settings import Settings
from clickstream.signals import Stop

ROWS_AT_ONCE = 10_000
EMPTY = """
    TRUNCATE clickstream_events, session_metrics, rejected_events, stream_positions,
        session_changes, search_cursor
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the results; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=5_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.events, arguments.visitors, arguments.rounds))


def _run(events: int, visitors: int, rounds: int) -> int:
    with support.servers(["kafka", "postgres", "opensearch"]) as settings:
        support.produce(settings, events, visitors)
        clock = Clock()
        clock.measure("store", batch, "store")
        _consume(replace(settings, opensearch_host=""), clock)
        _compare_indexing(settings, rounds)
        with null_search() as null:
            searching = replace(settings, opensearch_port=int(null["OPENSEARCH_PORT"]))
            _compare_consuming(searching, clock, events, rounds)
    return cli.DONE


def _compare_indexing(settings: Settings, rounds: int) -> None:
    documents = _documents(settings)
    size = sum(len(lines) for _, lines in documents) / len(documents)
    print(f"{len(documents):,} documents of {size:.0f} bytes with their actions")
    print(f"{'parallel_bulk':>16} {'indexer':>14} {'share':>7}")
    shares = []
    for _ in range(rounds):
        plain = len(documents) / _bulk(settings, documents)
        followed = len(documents) / _follow(settings)
        shares.append(followed / plain)
        print(f"{plain:>14,.0f}/s {followed:>12,.0f}/s {shares[-1]:>7.2f}")
    print(f"median share: {median(shares):.2f}")


def _documents(settings: Settings) -> list[tuple[str, bytes]]:
    """Index and lines of all documents that there are."""
    found: list[tuple[str, bytes]] = []
    current = checkpoint.BEGINNING
    with closing(connect(settings, application="bench")) as connection:
        while current.filled_time is not None:
            with connection:
                step = checkpoint.backfill_step(connection.cursor(), current, ROWS_AT_ONCE)
                found += document_reader.actions(connection, step)
            current = step.after
    return found


def _bulk(settings: Settings, documents: list[tuple[str, bytes]]) -> float:
    """Seconds that parallel_bulk takes for documents that are there, into fresh indexes."""
    actions = []
    for _, lines in documents:
        action, source = map(orjson.loads, lines.split(b"\n"))
        actions.append({**action["index"], "_source": source})
    with closing(opensearch.connect(settings)) as client:
        _fresh_indexes(settings, {name for name, _ in documents})
        started = perf_counter()
        for done, item in parallel_bulk(client, actions):
            assert done, item
        return perf_counter() - started


def _fresh_indexes(settings: Settings, names: set[str]) -> None:
    with closing(opensearch.connect(settings)) as client:
        state = indexes.State("bench", "bench", time_ns() // 1000)
        state = indexes.delete_unknown(client, indexes.begin(client, state))
        for name in sorted(names):
            state = indexes.create(client, state, name)


def _follow(settings: Settings) -> float:
    """Seconds that the indexer takes to fill a new index."""
    with closing(connect(settings, application="bench")) as connection, connection:
        checkpoint.forget(connection.cursor())
    started = perf_counter()
    with running_indexer(settings):
        assert wait_until_indexed(settings, Stop())
        return perf_counter() - started


def _compare_consuming(settings: Settings, clock: Clock, events: int, rounds: int) -> None:
    print(f"{'without indexer':>18} {'with indexer':>16} {'share':>7}")
    shares = []
    for _ in range(rounds):
        alone = events / _consume(replace(settings, opensearch_host=""), clock)
        beside = events / _consume(settings, clock)
        shares.append(beside / alone)
        print(f"{alone:>16,.0f}/s {beside:>14,.0f}/s {shares[-1]:>7.2f}")
    print(f"median share: {median(shares):.2f}")


def _consume(settings: Settings, clock: Clock) -> float:
    """Seconds from the first batch to the last, from empty tables."""
    with closing(connect(settings, application="bench")) as connection, connection:
        connection.cursor().execute(EMPTY)
    clock.first = None
    with running_indexer(settings) if settings.opensearch_host else nullcontext():
        Consumer(settings, Stop(), Drain(), random.Random()).run()
        return clock.last - (clock.first or 0.0)


if __name__ == "__main__":
    raise SystemExit(main())
