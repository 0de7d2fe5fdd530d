"""Speed of the indexer: documents per second from PostgreSQL into OpenSearch.

It is compared with opensearchpy's parallel_bulk on the same server, with the same documents ready
in memory; the two take turns. Run it from the project's folder: python -m bench.indexing
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from statistics import median
from time import perf_counter

import orjson
from opensearchpy import OpenSearch
from opensearchpy.helpers import parallel_bulk

from bench import servers
from bench.consumer_run import drain
from bench.records import produce
from clickstream import cli
from clickstream.clients import opensearch
from clickstream.clients.postgres import connect
from clickstream.indexer import checkpoint
from clickstream.indexer.background import running_indexer
from clickstream.indexer.backlog import wait_until_indexed
from clickstream.indexer.document_reader import read_actions
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.indexer import ROWS_PER_STEP
from clickstream.indexer.indexes import IndexSet
from clickstream.indexer.steps import BACKFILL_START, backfill_step
from clickstream.settings import Settings
from clickstream.signals import Stop


def main(argv: Sequence[str] | None = None) -> int:
    """Print the results and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=5_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.events, arguments.visitors, arguments.rounds))


def _run(events: int, visitors: int, rounds: int) -> int:
    with (
        servers.running(["kafka", "postgres", "opensearch"]) as settings,
        servers.database(settings) as own,
    ):
        produce(own, events, visitors)
        drain(replace(own, opensearch_host=""), visitors, events)
        _compare(own, rounds)
    return cli.DONE


def _compare(settings: Settings, rounds: int) -> None:
    documents = _documents(settings)
    size = sum(len(lines) for _, lines in documents) / len(documents)
    print(f"{len(documents):,} documents, {size:.0f} bytes each with the action line")
    print(f"{'parallel_bulk':>16} {'indexer':>14} {'share':>7}")
    shares = []
    for _ in range(rounds):
        plain = len(documents) / _bulk(settings, documents)
        indexed = len(documents) / _backfill(settings)
        shares.append(indexed / plain)
        print(f"{plain:>14,.0f}/s {indexed:>12,.0f}/s {shares[-1]:>7.2f}")
    print(f"median share: {median(shares):.2f}")


def _documents(settings: Settings) -> list[tuple[str, bytes]]:
    """Return the index name and the bulk action of every document."""
    found: list[tuple[str, bytes]] = []
    current = BACKFILL_START
    with closing(connect(settings, application="bench")) as connection:
        while current.backfilled_to is not None:
            with connection:
                step = backfill_step(connection.cursor(), current, ROWS_PER_STEP)
                for group in read_actions(connection, step, _names(settings)):
                    found += [(group.index_name, action) for action in group.actions]
            current = step.after
    return found


def _bulk(settings: Settings, documents: list[tuple[str, bytes]]) -> float:
    """Return the seconds that parallel_bulk takes to index the documents into new indexes."""
    actions = []
    for _, lines in documents:
        action, source = map(orjson.loads, lines.split(b"\n"))
        actions.append({**action["index"], "_source": source})
    with closing(opensearch.connect(settings)) as client:
        _create_indexes(settings, client, {name for name, _ in documents})
        started = perf_counter()
        for done, item in parallel_bulk(client, actions):
            assert done, item
        return perf_counter() - started


def _names(settings: Settings) -> IndexNames:
    return IndexNames(settings.opensearch_index_prefix)


def _create_indexes(settings: Settings, client: OpenSearch, names: set[str]) -> None:
    indexes = IndexSet(client, _names(settings))
    with closing(connect(settings, application="bench")) as connection:
        indexes.take_over(checkpoint.database(connection.cursor()))
    for name in sorted(names):
        indexes.ensure(name)


def _backfill(settings: Settings) -> float:
    """Return the seconds that the indexer takes to backfill a new index."""
    with closing(connect(settings, application="bench")) as connection, connection:
        checkpoint.forget(connection.cursor())
    started = perf_counter()
    with running_indexer(settings):
        assert wait_until_indexed(settings, Stop())
        return perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
