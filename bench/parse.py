"""How long the parser takes for a good event, compared with the parser of another git revision.

The events are those of simulated shop traffic. Each version parses them in a process of its own;
the two take turns, so that other load on the machine slows both. Run from the project's folder:
python -m bench.parse --against v0.2.0
"""

import argparse
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from clickstream import cli
from clickstream.errors import UsageError

ROOT = Path(__file__).parents[1]
WORKER = ROOT / "bench" / "parse_worker.py"
EVENTS = 20_000


def main(argv: Sequence[str] | None = None) -> int:
    """Print the times of each round and their ratio; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default="HEAD", help="git revision (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=21, help="pairs of runs (default: 21)")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _compare(arguments.against, arguments.rounds))


def _compare(revision: str, rounds: int) -> int:
    with ExitStack() as resources:
        folder = Path(resources.enter_context(TemporaryDirectory()))
        values = folder / "values.ndjson"
        _write_events(values)
        _extract(revision, folder)
        old = resources.enter_context(_parser(folder, values))
        new = resources.enter_context(_parser(ROOT, values))
        pairs = [_pair(old, new, number) for number in range(rounds)]
    print(
        f"CPU time per event in microseconds, {EVENTS:,} events, median of {rounds} pairs of runs"
    )
    print(f"{revision}: {median(pair[0] for pair in pairs):.2f}")
    print(f"here: {median(pair[1] for pair in pairs):.2f}")
    ratios = sorted(pair[1] / pair[0] for pair in pairs)
    low, high = ratios[rounds // 4], ratios[-1 - rounds // 4]
    print(f"ratio: {median(ratios):.3f} (middle half of the pairs: {low:.3f} to {high:.3f})")
    return cli.DONE


def _write_events(file: Path) -> None:
    """Write simulated events into a file, one a line."""
    options = ["--dry-run", "--events", str(EVENTS), "--backfill", "7d", "--seed", "1"]
    with file.open("wb") as output:
        command = [sys.executable, "producer.py", *options]
        subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.DEVNULL, check=True)


def _extract(revision: str, folder: Path) -> None:
    """Write the package of another revision into a folder."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision, "clickstream"], cwd=ROOT, capture_output=True
    )
    if archive.returncode:
        raise UsageError(f"there is no folder clickstream in revision {revision!r}; see --against")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


@contextmanager
def _parser(folder: Path, values: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a worker with the package that is in a folder, and end it."""
    with subprocess.Popen(
        [sys.executable, str(WORKER), str(values)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    ) as worker:
        yield worker
        if worker.stdin:
            worker.stdin.close()


def _pair(
    old: subprocess.Popen[str], new: subprocess.Popen[str], number: int
) -> tuple[float, float]:
    """Return the microseconds per event of both; every other time the new one is first."""
    if number % 2:
        after, before = _run(new), _run(old)
    else:
        before, after = _run(old), _run(new)
    return before, after


def _run(worker: subprocess.Popen[str]) -> float:
    if worker.stdin is None or worker.stdout is None:
        raise AssertionError("a worker has pipes")
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


if __name__ == "__main__":
    raise SystemExit(main())
