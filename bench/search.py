"""The rate of the consumer with and without the indexer, beside a server that uses almost no CPU.

bench/null_search.py is that server. The consumer runs with and without the indexer, in turns. Run
it from the project's folder: python -m bench.search
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from bench import results, servers
from bench.consumer_run import CONSUMER, drain
from bench.null_search import null_search
from bench.records import produce
from bench.runs import Run
from clickstream import cli
from clickstream.settings import Settings

TITLE = "One consumer with and without the index"
COLUMNS = ("round", "without index, events/s", "with index, events/s", "ratio", "CPU", "CPU with")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=300_000, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.events, arguments.visitors, arguments.rounds))


def _run(events: int, visitors: int, rounds: int) -> int:
    with servers.running(["kafka", "postgres"]) as settings:
        produce(settings, events, visitors)
        pairs = [
            (_drain(settings, visitors, events), _drain_indexed(settings, visitors, events))
            for _ in range(rounds)
        ]
    ratio = median(beside.rate / alone.rate for alone, beside in pairs)
    load = (
        f"{events:,} events of {visitors:,} visitors: {ratio:.2f} of the rate without index. CPU "
        "of the consumer in microseconds per event."
    )
    results.keep(
        TITLE, [load, "", *results.table(COLUMNS, [_row(*each) for each in enumerate(pairs, 1)])]
    )
    return cli.DONE


def _drain(settings: Settings, visitors: int, events: int) -> Run:
    with servers.database(settings) as own:
        return drain(own, visitors, events)


def _drain_indexed(settings: Settings, visitors: int, events: int) -> Run:
    """Run the consumer with a new search server: indexes belong to one database."""
    with null_search() as null:
        searching = replace(
            settings,
            opensearch_host=null["OPENSEARCH_HOST"],
            opensearch_port=int(null["OPENSEARCH_PORT"]),
            opensearch_use_ssl=False,
        )
        return _drain(searching, visitors, events)


def _row(number: int, pair: tuple[Run, Run]) -> list[str]:
    alone, beside = pair
    return [
        str(number),
        f"{alone.rate:,.0f}",
        f"{beside.rate:,.0f}",
        f"{beside.rate / alone.rate:.2f}",
        f"{alone.cpu[CONSUMER]:.1f}",
        f"{beside.cpu[CONSUMER]:.1f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
