"""A backup by pg_dump: restored elsewhere, it is filled up from the same topic.

test_postgres_faults.py has a standby that is promoted and lacks the last commits.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from clickstream.local import postgres_server
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.databases import query_of
from tests.services.own_server import OwnServer
from tests.services.scripts import RunScript, StartScript, plain_environment
from tests.services.waiting import eventually

TRAFFIC = ("--events", "1500", "--rate", "200", "--seed", "3", "--late", "0.05")
FAULTS = ("--max-lateness", "40m", "--duplicate", "0.05", "--malformed", "0.05")
COUNT_EVENTS = "SELECT count(*)::int FROM clickstream_events"


def run_client(server: OwnServer, environment: Mapping[str, str], *line: str) -> None:
    """Run a program of PostgreSQL, such as pg_dump, on the server of these settings."""
    settings = Settings.from_mapping(environment)
    folder = Path(postgres_server.postgres(server.folder).command(0)[0]).parent
    connection = {
        "PGHOST": settings.postgres_host,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": settings.postgres_user,
        "PGPASSWORD": settings.postgres_password,
        "PGDATABASE": settings.postgres_database,
    }
    done = subprocess.run(
        [folder / line[0], *line[1:]],
        env=plain_environment(connection),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.local_search
def test_a_dump_made_in_mid_traffic_and_restored_into_a_fresh_server_refills_exactly(
    environment: dict[str, str],
    search: dict[str, str],
    own_postgres: OwnServer,
    start_script: StartScript,
    run_script: RunScript,
    tmp_path: Path,
) -> None:
    """The index has documents of the lost server that are newer than the backup."""
    dump, truth = str(tmp_path / "clickstream.dump"), str(tmp_path / "truth.json")
    consumer = start_script("consumer.py", CONSUMER_BATCH_EVENTS="100", **search)
    producer = start_script("producer.py", *TRAFFIC, *FAULTS, "--truth", truth)
    query = query_of(environment)
    eventually(lambda: query(COUNT_EVENTS)[0][0] > 300)
    run_client(own_postgres, environment, "pg_dump", "--format=custom", f"--file={dump}")
    assert producer.wait() == 0
    assert consumer.is_running
    consumer.kill()

    moved = {**environment, **own_postgres.environment, **search}
    run_client(own_postgres, moved, "createdb", "restored")
    moved["POSTGRES_DATABASE"] = "restored"
    run_client(own_postgres, moved, "pg_restore", "--no-owner", "--dbname=restored", dump)
    ((restored,),) = query_of(moved)(COUNT_EVENTS)
    assert 300 < restored < 1500

    def run(*command: str) -> str:
        done = run_script(*command, **moved)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("create_schema.py")
    assert "Kafka has every record that is not read yet" in run("clickstream", "doctor")
    without_search = run_script("consumer.py", "--drain", **moved)
    assert without_search.returncode == 1
    assert "search rebuild --take-over" in without_search.stderr
    run("summary.py", "--compare", truth)
    oracle.check(moved)
    run("clickstream", "search", "rebuild", "--take-over")
    run("consumer.py", "--drain")
    run("clickstream", "search", "verify")
