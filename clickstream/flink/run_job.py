"""Running the Flink job on this machine, in one process."""

import hashlib
import logging
import os
import shutil
from pathlib import Path
from time import monotonic
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from clickstream.clients.addresses import kafka_address
from clickstream.clients.kafka import check_reachable, connection_options
from clickstream.clients.postgres import Connection
from clickstream.errors import UserError, first_line
from clickstream.flink.connector_jars import connector_jars
from clickstream.flink.flink_process import FlinkError, Job, running_flink, submit
from clickstream.flink.job_statements import job_statements
from clickstream.settings import Settings
from clickstream.signals import Stop

logger = logging.getLogger("clickstream.flink")

SOURCES = Path(__file__).parents[2] / "flink"
POLL_SECONDS = 0.2
LOOK_SECONDS = 10.0
# A checkpoint writes the state of all open sessions.
CHECKPOINT_INTERVAL = "1 min"
# The files of checkpoints and savepoints, also of a job that was killed.
SAVED_STATE = "*/*/_metadata"
COUNTED_TABLES = ("flink_events", "flink_sessions", "flink_late_events", "flink_dead_letters")


def create_tables(connection: Connection) -> None:
    """Create the tables of the job that are missing."""
    with connection, connection.cursor() as cursor:
        cursor.execute((SOURCES / "postgresql.sql").read_text(encoding="utf-8"))


def count_rows(connection: Connection) -> str:
    """Return the number of rows of each table, such as "20,000 flink_events"."""
    counts = []
    with connection, connection.cursor() as cursor:
        for table in COUNTED_TABLES:
            cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a constant
            counts.append(f"{cursor.fetchall()[0][0]:,} {table}")
    return ", ".join(counts)


def check_topic(settings: Settings) -> None:
    """Raise UserError if Kafka cannot be reached, or has no such topic: Flink would wait."""
    try:
        check_reachable(settings)
        admin = KafkaAdminClient(**connection_options(settings))
        try:
            topics = admin.list_topics()
        finally:
            admin.close()
    except (KafkaError, OSError) as error:
        raise UserError(
            f"cannot reach {kafka_address(settings)} ({first_line(error)}); find the cause with: "
            "python -m clickstream doctor"
        ) from None
    if settings.kafka_topic not in topics:
        raise UserError(
            f"topic {settings.kafka_topic!r} does not exist on {kafka_address(settings)}; create "
            "it with: python create_schema.py"
        )


def run(settings: Settings, stop: Stop, folder: Path, *, bounded: bool) -> None:
    """Run the job until it ends or a stop is requested.

    folder: for connectors, logs and checkpoints. bounded: end at what is in the topic now, from
    its beginning. Otherwise the job continues from the checkpoint or savepoint of an earlier run
    of the same job, if there is one. Raises UserError if the job fails.
    """
    statements = job_statements(SOURCES, settings, bounded=bounded)
    folder.mkdir(exist_ok=True)
    jars = connector_jars(SOURCES, folder / "jars")
    state = folder / "state" / ("bounded" if bounded else _fingerprint(settings))
    if bounded:
        shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)
    with running_flink(jars, folder) as java:
        logger.info("starting the Flink job, which takes about 10 s")
        with stop.interrupting():
            job = submit(java, _configuration(state, bounded=bounded), statements)
        logger.info("the job runs; Ctrl-C stops it")
        _wait(job, stop)
        if job.is_done():
            job.check()
        else:
            _stop(job, java, state / "savepoints")


def _stop(job: Job, java: Any, savepoints: Path) -> None:
    """Stop the job with a savepoint; a job that is just starting stops without one."""
    logger.info("stopping the job with a savepoint")
    try:
        job.stop(java, savepoints)
    except FlinkError as error:
        logger.warning("%s; the next run continues from the checkpoint before, if any", error)


def _wait(job: Job, stop: Stop) -> None:
    """Wait until the job is done or a stop is requested; warn while the job is restarting."""
    look_at = monotonic() + LOOK_SECONDS
    while not (stop.requested or job.is_done()):
        stop.wait(POLL_SECONDS)
        if monotonic() > look_at:
            look_at += LOOK_SECONDS
            if not job.is_done() and job.is_restarting():
                logger.warning("the job failed and is started again; the cause is in flink.log")


def _fingerprint(settings: Settings) -> str:
    """Return a name for the state of the job: another job, topic or database cannot use it."""
    files = [SOURCES / "job.sql", *sorted((SOURCES / "tables").glob("*.sql"))]
    parts = [path.read_text(encoding="utf-8") for path in files]
    parts += [settings.kafka_bootstrap_servers, settings.kafka_topic, settings.postgres_host]
    parts += [str(settings.postgres_port), settings.postgres_database]
    parts += [str(settings.session_timeout_seconds)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _configuration(state: Path, *, bounded: bool) -> dict[str, str]:
    """Return Flink's configuration. state: the folder for checkpoints and savepoints."""
    configuration = {
        "parallelism.default": str(os.cpu_count() or 1),
        "pipeline.name": "clickstream",
        "execution.checkpointing.interval": CHECKPOINT_INTERVAL,
        "execution.checkpointing.dir": state.absolute().as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "restart-strategy.type": "none" if bounded else "exponential-delay",
    }
    if newest := _newest(state):
        logger.info("continuing from %s", newest)
        configuration["execution.state-recovery.path"] = newest.absolute().as_uri()
    return configuration


def _newest(state: Path) -> Path | None:
    """Return the newest checkpoint or savepoint, and delete the others; None if there is none."""
    saved = [path.parent for path in state.glob(SAVED_STATE)]
    saved.sort(key=lambda folder: (folder / "_metadata").stat().st_mtime)
    for older in saved[:-1]:
        shutil.rmtree(older)
    return saved[-1] if saved else None
