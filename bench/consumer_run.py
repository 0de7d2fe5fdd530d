"""A run of consumer.py --drain with default settings, measured from outside."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import psutil

from bench.cpu_time import CpuClock
from bench.runs import Run, per_event
from bench.servers import environment
from clickstream.clients.postgres import Connection, connect, only_row
from clickstream.errors import UserError
from clickstream.settings import Settings

PROJECT = Path(__file__).parents[1]
DEFAULTS = Path(__file__).with_name("default.env")
CONSUMER = "consumer"
# The consumer logs this directly before it reads the first record.
READING = "reading partitions"
SAMPLE_SECONDS = 0.05
START_SECONDS = 60.0
RECORDS_STORED = "SELECT coalesce(sum(records), 0)::bigint FROM stream_positions"
UPDATES = """
    SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'session_metrics'
"""
COUNTS = """
    SELECT sum(records), sum(duplicates + rejected + removed),
           (SELECT count(*) FROM clickstream_events)
    FROM stream_positions
"""


class Script:
    """A script that runs; its log is collected.

    folder: of the checkout that it belongs to.
    """

    def __init__(self, folder: Path, settings: Settings, *arguments: str) -> None:
        self.lines: list[str] = []
        self._reading = Event()
        self._process = subprocess.Popen(
            [sys.executable, *arguments, "--env-file", DEFAULTS],
            cwd=folder,
            env=environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.process = psutil.Process(self._process.pid)
        self._collector = Thread(target=self._collect, daemon=True)
        self._collector.start()

    def _collect(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line)
            if READING in line:
                self._reading.set()
        self._reading.set()

    def wait_until_reading(self) -> None:
        """Wait until the consumer begins to read. Raises UserError if it ends before."""
        if not self._reading.wait(START_SECONDS):
            raise UserError("the consumer did not begin to read")
        self.check()

    def check(self) -> None:
        """Raise UserError if the script has failed."""
        if self._process.poll():
            self._collector.join()
            raise UserError(f"the script failed: {''.join(self.lines[-5:])}")

    def wait(self) -> None:
        """Wait for the end of the script. Raises UserError if it fails."""
        self._process.wait()
        self.check()

    def kill(self) -> None:
        """End the script at once, if it still runs."""
        self._process.kill()
        self._process.wait()


@contextmanager
def running(folder: Path, settings: Settings, *arguments: str) -> Iterator[Script]:
    """Run a script; it does not outlive the block."""
    script = Script(folder, settings, *arguments)
    try:
        yield script
    finally:
        script.kill()


def run(folder: Path, settings: Settings, *arguments: str) -> Script:
    """Run a script to its end. Raises UserError if it fails."""
    with running(folder, settings, *arguments) as script:
        script.wait()
    return script


def drain(
    settings: Settings,
    visitors: int,
    events: int,
    *,
    folder: Path = PROJECT,
    profile: Path | None = None,
) -> Run:
    """Run a consumer until the events of the topic are stored, and verify what it has stored.

    settings: of an empty database. folder: the checkout whose scripts run. profile: the file for
    samples of the call stack; taking them slows the consumer down.
    Raises UserError if a number or a session is wrong.
    """
    run(folder, settings, "create_schema.py")
    with closing(connect(settings, application="bench")) as connection:
        connection.autocommit = True
        with running(folder, settings, "consumer.py", "--drain") as consumer:
            consumer.wait_until_reading()
            begin = monotonic()
            clock = CpuClock(settings, connection, {CONSUMER: consumer.process})
            recorder = _record(consumer.process.pid, profile) if profile else None
            peak = _wait_until_stored(connection, events, consumer)
            seconds = monotonic() - begin
            cpu = clock.elapsed()
            consumer.wait()
            if recorder:
                recorder.wait()
        hot_share = _hot_share(connection)
        _check(connection, events)
    verify(settings, folder)
    return Run(CONSUMER, visitors, events, seconds, per_event(cpu, events), hot_share, peak)


def verify(settings: Settings, folder: Path = PROJECT) -> None:
    """Recompute the sessions from the events. Raises UserError if there is a difference."""
    run(folder, settings, "summary.py", "--verify")


def _wait_until_stored(connection: Connection, events: int, consumer: Script) -> float:
    """Wait until this many records are stored, and return the consumer's largest size in MiB."""
    largest = 0
    with connection.cursor() as cursor:
        while True:
            largest = max(largest, consumer.process.memory_info().rss)
            cursor.execute(RECORDS_STORED)
            if only_row(cursor)[0] >= events:
                return largest / 2**20
            consumer.check()
            sleep(SAMPLE_SECONDS)


def _hot_share(connection: Connection) -> float:
    with connection.cursor() as cursor:
        cursor.execute(UPDATES)
        updates, hot = only_row(cursor)
    return float(hot / updates) if updates else 1.0


def _check(connection: Connection, events: int) -> None:
    """Raise UserError if not each record of the topic became a row."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS)
        records, without_row, rows = only_row(cursor)
    if (records, without_row, rows) != (events, 0, events):
        raise UserError(
            f"{events} records were sent; the consumer counted {records}, of which {without_row} "
            f"are not new, and stored {rows} rows"
        )


def _record(pid: int, file: Path) -> subprocess.Popen[bytes]:
    """Begin to sample the call stacks of a Python process until it ends.

    --gil: only of the thread that runs Python code. Others mostly wait.
    """
    command = [
        *(str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid)),
        *("--format", "raw", "--output", str(file), "--rate", "200", "--nolineno", "--gil"),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
