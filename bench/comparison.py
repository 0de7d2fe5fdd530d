"""One and two consumers beside Flink SQL and PostgreSQL alone, on the same servers, in turns.

README.md in this folder says how it measures. Run it from the project's folder: make bench, or

    python -m bench.comparison --visitors 100000 --rounds 1

A wrong number or session in any run ends the benchmark without figures.
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import consumers, flink_sql, results, runs, servers
from bench.consumer_run import CONSUMER, drain
from bench.cpu_time import BROKER, POSTGRES
from bench.floor import Floor
from bench.records import produce
from bench.runs import Run
from bench.scripts import verify
from clickstream import cli
from clickstream.settings import Settings

TITLE = "One and two consumers, Flink SQL and PostgreSQL alone"
LOADS = (10_000, 100_000)
FLOOR, LIVE_FLOOR = "floor", "floor, live sessions"
TWO_CONSUMERS = "2 consumers"
OURS = (CONSUMER, TWO_CONSUMERS)
OTHERS = (*flink_sql.JOBS, FLOOR, LIVE_FLOOR)
COLUMNS = ("", "events/s", "lowest", "highest", "own CPU", "PostgreSQL", "broker", "HOT", "MiB")
NOTE = "CPU in microseconds per event. HOT: share of the updates of sessions. MiB: the process."


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=300_000, help="default: %(default)s")
    parser.add_argument(
        "--visitors", type=int, nargs="+", default=LOADS, help="loads (default: 10000 100000)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="FILE",
        help="add the runs to this file, and report all that it has (default: a new file)",
    )
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    with TemporaryDirectory() as folder:
        file = arguments.runs or Path(folder) / "runs"
        for visitors in arguments.visitors:
            with servers.running(["kafka", "postgres"]) as settings:
                produce(settings, arguments.events, visitors)
                for _ in range(arguments.rounds):
                    runs.append(file, _round(settings, visitors, arguments.events))
        results.keep(TITLE, _lines(runs.read(file)))
    return cli.DONE


def _round(settings: Settings, visitors: int, events: int) -> list[Run]:
    """Run each side once: two consumers with a new topic and database, all others with the same."""
    with servers.database(settings) as own:
        measured = [drain(own, visitors, events)]
        if flink_sql.is_installed():
            measured += [flink_sql.drain(side, own, visitors, events) for side in flink_sql.JOBS]
        with closing(Floor(own, visitors)) as floor:
            measured.append(floor.store(FLOOR, floor.final_sessions()))
            verify(own)
            measured.append(floor.store(LIVE_FLOOR, floor.live_sessions()))
            verify(own)
    if servers.has_transactions():
        with servers.database(servers.with_new_topic(settings)) as own:
            measured.append(consumers.measure_group(own, visitors, events, number=2).figures)
    return measured


def _lines(measured: Sequence[Run]) -> list[str]:
    """Return the ratios, then the figures of each side in each load, as Markdown."""
    loads = sorted({run.visitors for run in measured})
    found = {run.side for run in measured}
    ours, others = ([side for side in sides if side in found] for sides in (OURS, OTHERS))
    by_load = {
        visitors: {
            side: [run for run in measured if (run.visitors, run.side) == (visitors, side)]
            for side in (*ours, *others)
        }
        for visitors in loads
    }
    ratios = [
        [f"{our}, {visitors:,} visitors", *(f"{_ratio(sides[our], sides[o]):.2f}" for o in others)]
        for visitors, sides in by_load.items()
        for our in ours
    ]
    figures = [_figures(same) for sides in by_load.values() for same in sides.values()]
    return [
        *results.table(["rate, divided by that of", *others], ratios),
        "",
        *results.table(COLUMNS, figures),
        "",
        NOTE,
    ]


def _ratio(ours: Sequence[Run], theirs: Sequence[Run]) -> float:
    """Return the median of the ratios of each round."""
    return median(our.rate / their.rate for our, their in zip(ours, theirs, strict=True))


def _figures(same: Sequence[Run]) -> list[str]:
    """Return a row for the runs of one side in one load."""
    rates = [run.rate for run in same]
    cpus = (
        median(run.own_cpu for run in same),
        *(median(run.cpu.get(name, 0.0) for run in same) for name in (POSTGRES, BROKER)),
    )
    last = same[-1]
    return [
        f"{last.side}, {last.visitors:,} visitors, {len(same)} x {last.events:,}",
        *(f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))),
        *(f"{cpu:.1f}" if cpu else "" for cpu in cpus),
        "" if last.hot_share is None else f"{last.hot_share:.0%}",
        "" if last.peak_mib is None else f"{last.peak_mib:,.0f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
