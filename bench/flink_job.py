"""Runs a Flink SQL job of the benchmarks until it has read what is in the topic.

It is a process of its own, started by bench/flink_sql.py, with the settings in its environment and
the file of the job, in bench/flink, as its argument.
"""

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from clickstream import cli
from clickstream.flink.connector_jars import connector_jars
from clickstream.flink.flink_process import running_flink, submit
from clickstream.flink.job_statements import job_statements
from clickstream.flink.run_job import SOURCES
from clickstream.settings import Settings

OURS = Path(__file__).with_name("flink")
JARS = Path(__file__).parents[1] / ".flink" / "jars"
SINKS = ("flink_events.sql", "flink_sessions.sql")
POLL_SECONDS = 0.2
# It overrides the command line. With 2 GiB, the state of 100,000 sessions slows Flink down.
HEAP = {"_JAVA_OPTIONS": "-Xmx6g"}


def main() -> int:
    """Run the job and return the exit status."""
    return cli.run(lambda: _run(Settings.from_mapping(os.environ), sys.argv[1]))


def _run(settings: Settings, job_file: str) -> int:
    os.environ.update(HEAP)
    jars = connector_jars(SOURCES, JARS)
    with TemporaryDirectory() as name:
        folder = Path(name)
        statements = job_statements(_sources(folder, job_file), settings, bounded=True)
        configuration = {
            "parallelism.default": str(os.cpu_count() or 1),
            "execution.checkpointing.interval": "10 s",
            "execution.checkpointing.dir": (folder / "state").as_uri(),
            "restart-strategy.type": "none",
            # Operators of one thread pass rows on without copies of them.
            "pipeline.object-reuse": "true",
        }
        with running_flink(jars, folder) as java:
            job = submit(java, configuration, statements)
            while not job.is_done():
                sleep(POLL_SECONDS)
            job.check()
    return cli.DONE


def _sources(folder: Path, job_file: str) -> Path:
    """Return a folder with our source table and job, and the tables to write of flink/."""
    tables = folder / "tables"
    tables.mkdir()
    for path in (OURS / "clicks.sql", *(SOURCES / "tables" / name for name in SINKS)):
        shutil.copy(path, tables)
    shutil.copy(OURS / job_file, folder / "job.sql")
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
