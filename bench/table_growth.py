"""The consumer's rate as the tables grow: it stores one million events after another.

Each visitor has one session in each million. The first million closes no sessions, and its visitors
have no earlier ones. Each later million closes those of the one before, as a pipeline that runs for
long does all the time. Eight million events take a quarter of an hour on two cores. Run it from the
project's folder: python -m bench.table_growth
"""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bench import results, servers
from bench.consumer_run import CONSUMER, measure
from bench.cpu_time import POSTGRES
from bench.records import produce
from bench.runs import MICRO, Run
from bench.scripts import PROJECT, run, verify
from clickstream import cli

TITLE = "Growing tables"
MILLION = 1_000_000
# More than the session timeout.
BETWEEN = timedelta(hours=1)
COLUMNS = (
    *("events in the table", "events/s", "to the first", "to the second"),
    *("consumer's CPU", "of a core", "PostgreSQL", "HOT"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=8 * MILLION, help="default: %(default)s")
    parser.add_argument("--part", type=int, default=MILLION, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=100_000, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.events, arguments.part, arguments.visitors))


def _run(events: int, part: int, visitors: int) -> int:
    measured = []
    with servers.running(["kafka", "postgres"]) as settings, servers.database(settings) as own:
        run(PROJECT, own, "create_schema.py")
        now = datetime.now(UTC)
        for stored in range(0, events, part):
            produce(own, part, visitors, now - (events - stored) // part * BETWEEN)
            measured.append(measure(own, visitors, part, stored_before=stored))
            print(f"{stored + part:,} events: {measured[-1].rate:,.0f}/s", flush=True)
        verify(own)
    load = f"{visitors:,} visitors, {part:,} events at a time. CPU in microseconds per event."
    results.keep(TITLE, [load, "", *results.table(COLUMNS, _rows(measured, part))])
    return cli.DONE


def _rows(measured: Sequence[Run], part: int) -> list[list[str]]:
    return [
        [
            f"{number * part:,}",
            f"{each.rate:,.0f}",
            f"{each.rate / measured[0].rate:.2f}",
            f"{each.rate / measured[1].rate:.2f}" if number > 1 else "",
            f"{each.cpu[CONSUMER]:.1f}",
            f"{each.rate * each.cpu[CONSUMER] / MICRO:.0%}",
            f"{each.cpu.get(POSTGRES, 0.0):.1f}",
            f"{each.hot_share:.0%}",
        ]
        for number, each in enumerate(measured, 1)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
