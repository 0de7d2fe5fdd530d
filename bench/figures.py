"""Seconds that the report and --verify take with a large number of events.

It starts a PostgreSQL, or uses that of TEST_POSTGRES_*, and runs summary.py. README.md in this
folder says how it measures. Run it from the project's folder:

    python -m bench.figures --events 10000000
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from bench import results, servers
from bench.scripts import PROJECT, run
from bench.simulated_past import store_past
from clickstream import cli
from clickstream.clients.postgres import connect, only_row
from clickstream.report.live_figures import APPLICATION, LiveReader
from clickstream.settings import Settings

TITLE = "The report and its check"
SCRIPT = "summary.py"
COMMANDS = ((), ("--since", "1d"), ("--json",), ("--html", "report.html"), ("--verify",))
SELECT_SIZES = """
    SELECT (SELECT count(*) FROM session_metrics),
           pg_size_pretty(pg_table_size('clickstream_events'))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _measure(arguments.events, arguments.rounds))


def _measure(events: int, rounds: int) -> int:
    with servers.servers(["postgres"]) as settings:
        stored = store_past(settings, events)
        rows = [
            [name, f"{median(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}"]
            for name, seconds in _all_seconds(settings, rounds)
        ]
        sessions, size = _sizes(settings)
    head = f"{stored:,} events in {size}, {sessions:,} sessions; {rounds} rounds."
    table = results.table(("", "median, s", "lowest", "highest"), rows)
    results.keep(f"{TITLE}, {stored:,} events", [head, "", *table])
    return cli.DONE


def _all_seconds(settings: Settings, rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Yield the name of each measurement, and the seconds of its rounds."""
    with TemporaryDirectory() as folder:
        for arguments in COMMANDS:
            paths = [str(Path(folder) / each) if "." in each else each for each in arguments]
            command = partial(run, PROJECT, settings, SCRIPT, *paths)
            yield " ".join((SCRIPT, *arguments)), [_seconds(command) for _ in range(rounds)]
    with _live_reader(settings) as reader:
        yield f"{SCRIPT} --watch, first figures", [_seconds(reader.read)]
        yield f"{SCRIPT} --watch, next figures", [_seconds(reader.read) for _ in range(rounds)]


@contextmanager
def _live_reader(settings: Settings) -> Iterator[LiveReader]:
    with closing(connect(settings, application=APPLICATION)) as connection:
        yield LiveReader(settings, connection)


def _seconds(action: Callable[[], object]) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began


def _sizes(settings: Settings) -> tuple[int, str]:
    with (
        closing(connect(settings, application="bench")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(SELECT_SIZES)
        sessions, size = only_row(cursor)
    return sessions, size


if __name__ == "__main__":
    raise SystemExit(main())
