"""Speed of the consumer from topic to PostgreSQL: events/s, CPU time per event, memory.

The real consumer.py --drain reads a topic that was filled before, with default settings, into an
empty database; after each run summary.py --verify must find no difference. On a machine with other
work to do compare the CPU time, not the rate. Run it from the project's folder:

    python -m bench.pipeline --visitors 100000 --events 150000
    python -m bench.pipeline --profile            also the CPU time by function
    python -m bench.pipeline --against main       also another git revision, in turns
"""

import argparse
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import servers
from bench.consumer_run import CONSUMER, drain
from bench.profile import print_profile
from bench.records import produce
from bench.runs import Run
from bench.scripts import PROJECT
from clickstream import cli
from clickstream.errors import UsageError
from clickstream.settings import Settings

HERE = "here"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the results and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=300_000, help="default: %(default)s")
    parser.add_argument("--visitors", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--against", metavar="REVISION", help="git revision to compare with")
    parser.add_argument("--profile", action="store_true", help="sample the call stacks by py-spy")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    with ExitStack() as resources:
        folders = {HERE: PROJECT}
        if arguments.against:
            folders[arguments.against] = resources.enter_context(_checkout(arguments.against))
        settings = resources.enter_context(servers.running(["kafka", "postgres"]))
        produce(settings, arguments.events, arguments.visitors)
        runs: dict[str, list[Run]] = {name: [] for name in folders}
        for _ in range(arguments.rounds):
            for name, folder in folders.items():
                runs[name].append(_drain(settings, arguments, folder))
        _print(arguments.events, arguments.visitors, runs)
        if arguments.profile:
            samples = Path(resources.enter_context(TemporaryDirectory())) / "samples"
            run = _drain(settings, arguments, PROJECT, samples)
            print_profile(samples, run.cpu[CONSUMER])
    return cli.DONE


def _drain(
    settings: Settings, arguments: argparse.Namespace, folder: Path, profile: Path | None = None
) -> Run:
    with servers.database(settings) as own:
        return drain(own, arguments.visitors, arguments.events, folder=folder, profile=profile)


def _print(events: int, visitors: int, runs: dict[str, list[Run]]) -> None:
    print(f"{events:,} events of {visitors:,} visitors, median of {len(runs[HERE])}; verified")
    print(f"{'':33}" + "".join(f"{name[:12]:>13}" for name in runs))
    _print_line("events/s", [median(run.rate for run in each) for each in runs.values()], 0)
    for name in runs[HERE][0].cpu:
        values = [median(run.cpu[name] for run in each) for each in runs.values()]
        _print_line(f"CPU us/event, {name}", values, 1)
    _print_line("HOT updates %", [100 * (each[-1].hot_share or 0) for each in runs.values()], 0)
    peaks = [median(run.peak_mib or 0 for run in each) for each in runs.values()]
    _print_line("memory at most, MiB", peaks, 0)


def _print_line(title: str, values: Sequence[float], places: int) -> None:
    print(f"{title:<33}" + "".join(f"{value:>13,.{places}f}" for value in values))


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """Yield a folder with the files of another revision."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision], cwd=PROJECT, capture_output=True
    )
    if archive.returncode:
        raise UsageError(f"there is no git revision {revision!r}; see --against")
    with TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


if __name__ == "__main__":
    raise SystemExit(main())
