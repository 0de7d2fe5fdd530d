"""Memory of a consumer that runs for long: it must not grow with the events that it has stored.

It starts a broker, a PostgreSQL and a search server, then consumer.py and producer.py as processes,
and reads the consumer's resident size every few seconds. Sessions end after a minute, so that from
the third minute on as many end as begin. It fails if the largest size of the last third of the
time is more than a tenth above that of the third before. Run it from the project's folder:

    python -m bench.soak --minutes 10 --rate 200
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from clickstream import cli
from clickstream.local.temporary import temporary_stack

SAMPLE_SECONDS = 5.0
MAX_GROWTH = 1.1
STOP_SECONDS = 60
SETTINGS = {"SESSION_TIMEOUT_SECONDS": "60"}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the results and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=200, help="events/s; default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.minutes * 60, arguments.rate))


def _run(seconds: float, rate: float) -> int:
    with ExitStack() as resources:
        folder = Path(resources.enter_context(TemporaryDirectory())) / "servers"
        environment = {**resources.enter_context(temporary_stack(folder)), **SETTINGS}
        _start(environment, "create_schema.py").wait()
        consumer = resources.enter_context(_running(environment, "consumer.py"))
        resources.enter_context(_running(environment, "producer.py", "--rate", str(rate)))
        sizes = list(_sizes(consumer, seconds))
    third = len(sizes) // 3
    before, after = max(sizes[third : 2 * third]), max(sizes[2 * third :])
    print(f"largest size: {before:.0f} MiB in the second third, {after:.0f} MiB in the last")
    return cli.DONE if after <= MAX_GROWTH * before else cli.FAILED


def _sizes(process: subprocess.Popen[bytes], seconds: float) -> Iterator[float]:
    """Yield the resident size of a process every SAMPLE_SECONDS, MiB."""
    begin = monotonic()
    while (elapsed := monotonic() - begin) < seconds:
        sleep(SAMPLE_SECONDS)
        command = ["ps", "-o", "rss=", "-p", str(process.pid)]
        size = int(subprocess.check_output(command)) / 1024
        print(f"{elapsed:6.0f} s {size:6.1f} MiB", flush=True)
        yield size


@contextmanager
def _running(environment: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script until the block is left."""
    process = _start(environment, *arguments)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *arguments], env={**os.environ, **environment})


if __name__ == "__main__":
    raise SystemExit(main())
