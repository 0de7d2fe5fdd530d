"""Comparison of what this pipeline and its peers store of traffic of the same kind.

Some events of the simulated visitors are late, and some are sent twice. While they are sent, the
program under test is ended twice by SIGKILL and started again. Then its tables are compared with
the topic and with the producer's truth file. A real Kafka and a PostgreSQL are started for it, or
those of TEST_KAFKA_* and TEST_POSTGRES_* are used. Run it from the project's folder:

    python -m venv peers-venv
    peers-venv/bin/python -m pip install -r bench/peers/requirements.txt
    python -m bench.peers --python peers-venv/bin/python

docs/comparison.md has the last figures.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench import results, servers
from bench.peers.sides import SIDES, Side
from bench.peers.stored import compare, create_tables, wait_until_unchanged
from bench.peers.traffic import Traffic
from clickstream import cli
from clickstream.settings import Settings

KILLS = 2
COLUMNS = (
    "program", "events lost", "rows doubled", "sessions right", "sessions wrong", "sessions missing"
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print a table and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="of the environment of the peers")
    parser.add_argument("--events", type=int, default=30_000, help="default: %(default)s")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    with servers.running(["kafka", "postgres"]) as settings:
        rows = [
            _compare(name, SIDES[name], settings, arguments.python, arguments.events)
            for name in arguments.sides
        ]
    print("\n".join(results.table(COLUMNS, rows)))
    return cli.DONE


def _compare(name: str, side: Side, settings: Settings, python: str, events: int) -> list[str]:
    """Run one side on traffic of its own, and return its row of the table."""
    with (
        servers.database(servers.with_new_topic(settings)) as own,
        TemporaryDirectory(prefix="peers-") as folder,
    ):
        create_tables(own)
        state = Path(folder)
        traffic = Traffic(own, state / "truth.json", events)
        process = side.start(own, python, state)
        try:
            with traffic.sending() as sender:
                for kill in range(1, KILLS + 1):
                    sender.wait_for(kill / (KILLS + 1))
                    _kill(process)
                    process = side.start(own, python, state)
                sender.wait_for(1)
            traffic.send_closing_events()
            wait_until_unchanged(own, side.tables)
        finally:
            _kill(process)
        return [name, *compare(own, side.tables, traffic)]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a side and the processes that it has started by SIGKILL."""
    for each in psutil.Process(process.pid).children(recursive=True):
        each.kill()
    process.kill()
    process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
