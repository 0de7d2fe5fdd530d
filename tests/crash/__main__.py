"""Run histories of crashes: `python -m tests.crash 200`."""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from itertools import count, islice
from pathlib import Path
from random import SystemRandom

from clickstream.signals import Stop
from tests.crash.history import Outcome, run_history
from tests.crash.schedule import make_schedule
from tests.crash.servers import running_servers

EVENTS = 3_000
# Histories at a time. They mostly wait: for rebalances, for servers to start. With more of them,
# consumers could not send heartbeats within their short session timeout.
WORKERS_PER_CORE = 2
LARGEST_SEED = 10**6


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("histories", nargs="?", type=int, help="how many (default: unlimited)")
    parser.add_argument("--seconds", type=float, help="begin no history that would end after this")
    parser.add_argument("--seed", type=int, help="of the first history; the next ones count up")
    parser.add_argument("--events", type=int, default=EVENTS, help=f"each (default: {EVENTS:,})")
    parser.add_argument(
        "--workers",
        type=int,
        default=WORKERS_PER_CORE * (os.cpu_count() or 1),
        help="histories at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--real-kafka",
        action="store_true",
        help="on a real Kafka for each worker, which is killed and started again, too (needs Java "
        "17 or later and Maven; default: the local broker)",
    )
    return parser


class Seeds:
    """Seeds of the histories that are still to begin, for several workers.

    seconds: the time after which no history may end. stop: no history begins after that.
    """

    def __init__(self, seeds: Iterator[int], seconds: float | None, stop: Stop) -> None:
        self._seeds = seeds
        self._stop = stop
        self._lock = threading.Lock()
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._longest = 20.0

    def __iter__(self) -> Iterator[int]:
        while True:
            with self._lock:
                seed = None if self._is_over() else next(self._seeds, None)
            if seed is None:
                return
            started = time.monotonic()
            yield seed
            self._longest = max(self._longest, time.monotonic() - started)

    def _is_over(self) -> bool:
        is_late = self._deadline and time.monotonic() + self._longest > self._deadline
        return bool(self._stop.requested or is_late)


class Totals:
    """Prints each outcome, and the numbers of all."""

    def __init__(self) -> None:
        self.histories = self.wrong = self.records = 0
        self.done: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, outcome: Outcome) -> None:
        """Print an outcome and count it."""
        with self._lock:
            print(*outcome.lines(), sep="\n", flush=True)
            self.histories += 1
            self.wrong += bool(outcome.differences)
            self.records += outcome.records
            self.done += outcome.kills
            self.done += Counter(str(a.kind) for a in outcome.schedule.actions if not a.point)

    def lines(self) -> list[str]:
        """Return the numbers as lines to print."""
        parts = [f"    {number:5,}  {name}" for name, number in sorted(self.done.items())]
        exact = self.histories - self.wrong
        return [
            f"{self.histories} histories with {self.records:,} records: {exact} exact, "
            f"{self.wrong} wrong",
            *parts,
        ]


def work(seeds: Seeds, arguments: argparse.Namespace, folder: Path, totals: Totals) -> None:
    """Run histories on servers of this worker, until one fails or there are no more seeds."""
    folder.mkdir()
    real = arguments.real_kafka
    with running_servers(folder / "servers", real_kafka=real) as servers:
        for seed in seeds:
            own = folder / f"seed-{seed}"
            own.mkdir()
            schedule = make_schedule(seed, events=arguments.events, kafka_restarts=real)
            outcome = run_history(schedule, servers, own)
            totals.add(outcome)
            if outcome.differences:
                return  # a server may not have started again
            shutil.rmtree(own)


def main() -> int:
    """Run histories, print the result of each, and return 1 if one failed or none was run.

    Ctrl-C and SIGTERM let the histories that run end first; a second one ends at once.
    """
    arguments = build_parser().parse_args()
    first = SystemRandom().randrange(LARGEST_SEED) if arguments.seed is None else arguments.seed
    stop = Stop().on_signals()
    seeds = Seeds(islice(count(first), arguments.histories), arguments.seconds, stop)
    folder = Path(tempfile.mkdtemp(prefix="clickstream-crash-"))
    totals = Totals()
    workers = min(arguments.workers, arguments.histories or arguments.workers)
    folders = [folder / f"worker-{number}" for number in range(workers)]
    with ThreadPoolExecutor(workers) as executor:
        jobs = [executor.submit(work, seeds, arguments, own, totals) for own in folders]
        wait(jobs, return_when=FIRST_EXCEPTION)
        stop.request()  # if a worker failed, the others end after the histories that run
    for job in jobs:
        job.result()
    print(*totals.lines(), sep="\n")
    if not totals.wrong:
        shutil.rmtree(folder)
    return 0 if totals.histories and not totals.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
