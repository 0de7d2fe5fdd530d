"""A run of consumer.py --drain with default settings, measured from outside."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from bench.cpu_time import CpuClock
from bench.runs import Run, per_event
from bench.scripts import PROJECT, Script, run, running, verify
from clickstream.clients.postgres import Connection, connect, only_row
from clickstream.errors import UserError
from clickstream.settings import Settings

CONSUMER = "consumer"
SAMPLE_SECONDS = 0.05
RECORDS_STORED = "SELECT coalesce(sum(records), 0)::bigint FROM stream_positions"
UPDATES = """
    SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'session_metrics'
"""
# The tables of release 0.2.0, which --against can name, have no column removed.
COUNTS = """
    SELECT sum(records),
           sum(duplicates + rejected + coalesce(to_jsonb(p) ->> 'removed', '0')::bigint)::bigint,
           (SELECT count(*) FROM clickstream_events)
    FROM stream_positions p
"""


def drain(
    settings: Settings,
    visitors: int,
    events: int,
    *,
    folder: Path = PROJECT,
    profile: Path | None = None,
) -> Run:
    """Run a consumer until the events of the topic are stored, and verify what it has stored.

    settings: they name an empty database. folder: the checkout whose scripts run. profile: see
    `measure`. Raises UserError if a number or a session is wrong.
    """
    run(folder, settings, "create_schema.py")
    measured = measure(settings, visitors, events, folder=folder, profile=profile)
    verify(settings, folder)
    return measured


def measure(
    settings: Settings,
    visitors: int,
    events: int,
    *,
    stored_before: int = 0,
    folder: Path = PROJECT,
    profile: Path | None = None,
) -> Run:
    """Run a consumer until the events of the topic are stored, without a check of the sessions.

    stored_before: number of events of the topic that are stored already; `events` come after them.
    profile: the file for samples of the call stack; taking them slows the consumer down.
    Raises UserError if a number is wrong.
    """
    total = stored_before + events
    with closing(connect(settings, application="bench")) as connection:
        connection.autocommit = True
        with running(folder, settings, "consumer.py", "--drain") as consumer:
            consumer.wait_until_reading()
            begin = monotonic()
            clock = CpuClock(settings, connection, {CONSUMER: consumer.process})
            recorder = _record(consumer.process.pid, profile) if profile else None
            peak = _wait_until_stored(connection, total, consumer)
            seconds = monotonic() - begin
            cpu = clock.elapsed()
            consumer.wait()
            if recorder:
                recorder.wait()
        hot = hot_share(connection)
        check_rows(connection, total)
    return Run(CONSUMER, visitors, events, seconds, per_event(cpu, events), hot, peak)


def _wait_until_stored(connection: Connection, events: int, consumer: Script) -> float:
    """Wait until this many records are stored, and return the consumer's largest size in MiB."""
    largest = 0.0
    with connection.cursor() as cursor:
        while True:
            largest = max(largest, consumer.size_mib())
            cursor.execute(RECORDS_STORED)
            if only_row(cursor)[0] >= events:
                return largest
            consumer.check()
            sleep(SAMPLE_SECONDS)


def hot_share(connection: Connection) -> float:
    """Return the share of the updates of session_metrics that changed no index."""
    with connection.cursor() as cursor:
        cursor.execute(UPDATES)
        updates, hot = only_row(cursor)
    return float(hot / updates) if updates else 1.0


def check_rows(connection: Connection, events: int) -> None:
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
