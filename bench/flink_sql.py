"""Plain Flink SQL jobs on the same topic and the same PostgreSQL: rows and sessions."""

from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from time import monotonic, sleep

from bench.cpu_time import CpuClock
from bench.runs import Run, per_event
from bench.scripts import PROJECT, Script, running
from clickstream.clients.postgres import connect, only_row
from clickstream.errors import UserError
from clickstream.flink import run_job
from clickstream.settings import Settings

FLINK = "Flink SQL"
FEW_METRICS = "Flink SQL, few metrics"
# The files of the jobs, in bench/flink.
JOBS = {FLINK: "all_metrics.sql", FEW_METRICS: "few_metrics.sql"}
SAMPLE_SECONDS = 0.1
EMPTY_TABLES = "TRUNCATE flink_events, flink_sessions"
HAS_ROWS = "SELECT EXISTS (SELECT FROM flink_events)"
COUNT_SESSIONS = "SELECT count(*) FROM flink_sessions"
COUNT_EVENTS = "SELECT count(*) FROM flink_events"
OUR_SESSIONS = "SELECT count(*) FROM session_metrics"
DIFFERENCES = """
    SELECT count(*)
    FROM session_metrics AS ours
    FULL JOIN flink_sessions AS theirs
        ON theirs.user_id = ours.user_id
       AND theirs.first_event_timestamp = ours.first_event_timestamp
    WHERE (ours.total_events, ours.last_event_timestamp, ours.total_revenue)
       IS DISTINCT FROM (theirs.total_events, theirs.last_event_timestamp, theirs.total_revenue)
"""


def is_installed() -> bool:
    """Return True if the packages of requirements-flink.txt are installed."""
    return find_spec("pyflink") is not None


def drain(side: str, settings: Settings, visitors: int, events: int) -> Run:
    """Run a job until it has stored what is in the topic, and compare its sessions with ours.

    The time is that between the first and the last row. side: a name of JOBS. settings: they name a
    database in which a consumer has stored the same topic. Raises UserError if there is a
    difference.
    """
    with (
        closing(connect(settings, application="bench")) as connection,
        running(PROJECT, settings, "-m", "bench.flink_job", JOBS[side]) as job,
    ):
        run_job.create_tables(connection)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(EMPTY_TABLES)

        def value(query: str) -> int:
            cursor.execute(query)
            return int(only_row(cursor)[0])

        sessions = value(OUR_SESSIONS)
        _wait(job, lambda: bool(value(HAS_ROWS)))
        begin = monotonic()
        clock = CpuClock(settings, connection, {side: job.process})
        # Counting the sessions is cheap: they come at the end.
        _wait(job, lambda: value(COUNT_SESSIONS) >= sessions)
        _wait(job, lambda: value(COUNT_EVENTS) >= events)
        seconds = monotonic() - begin
        cpu = clock.elapsed()
        peak = job.size_mib()
        job.wait()
        if differences := value(DIFFERENCES):
            raise UserError(f"{differences} sessions of Flink differ from the consumer's")
    return Run(side, visitors, events, seconds, per_event(cpu, events), peak_mib=peak)


def _wait(job: Script, is_reached: Callable[[], bool]) -> None:
    """Wait for something that the job does. Raises UserError if the job fails before."""
    while not is_reached():
        job.check()
        sleep(SAMPLE_SECONDS)
