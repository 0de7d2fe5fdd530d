"""Connections to PostgreSQL: variables of libpq, a pooler, and databases that refuse changes."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clickstream.clients.postgres import connect
from clickstream.doctor import postgres_checks
from clickstream.doctor.checks import Finding, run_checks
from clickstream.local.ports import HOST, free_port
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.databases import Query
from tests.services.records import random_events, send_by_visitor
from tests.services.scripts import RunScript
from tests.services.waiting import eventually

# Each of them would let the connection fail, or change what the session reads and writes.
LIBPQ_VARIABLES = {
    "PGHOSTADDR": "192.0.2.1",
    "PGSERVICE": "of-another-program",
    "PGPASSWORD": "of-another-program",
    "PGTARGETSESSIONATTRS": "standby",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGCLIENTENCODING": "LATIN1",
    "PGTZ": "Asia/Tokyo",
    "PGDATESTYLE": "German",
}
SELECT_SESSION = """
    SELECT current_setting('timezone'), split_part(current_setting('datestyle'), ',', 1),
           current_setting('client_encoding'), current_setting('transaction_isolation')
"""
StartPooler = Callable[[str], int]


def test_variables_of_libpq_lead_to_no_other_server_and_change_no_session(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, run_script: RunScript
) -> None:
    for name, value in LIBPQ_VARIABLES.items():
        monkeypatch.setenv(name, value)
    with closing(connect(settings, application="test")) as opened, opened.cursor() as cursor:
        cursor.execute(SELECT_SESSION)
        assert cursor.fetchall() == [("UTC", "ISO", "UTF8", "read committed")]
    done = run_script("summary.py", "--verify", **LIBPQ_VARIABLES)
    assert (done.returncode, done.stderr) == (0, "")


# == Databases that refuse changes ==============================================================


@pytest.mark.parametrize("option", ["--rebuild-sessions", "--drop"])
def test_a_read_only_database_is_one_sentence(
    option: str, settings: Settings, query: Query, run_script: RunScript
) -> None:
    query(f'ALTER DATABASE "{settings.postgres_database}" SET default_transaction_read_only = on')
    done = run_script("create_schema.py", option, *(["--yes"] if option == "--drop" else []))
    assert done.returncode == 1
    assert done.stderr.startswith("error: PostgreSQL failed (cannot execute ")
    hint = "; find the cause with: python -m clickstream doctor\n"
    assert done.stderr.endswith(f"read-only transaction){hint}")


def test_a_search_path_without_a_schema_is_one_sentence_with_the_statement_that_helps(
    settings: Settings, query: Query, run_script: RunScript
) -> None:
    database = settings.postgres_database
    query(f"ALTER DATABASE \"{database}\" SET search_path = ''")
    done = run_script("create_schema.py")
    sentence, _, statement = done.stderr.strip().partition("; run: ")
    assert (done.returncode, sentence.count("\n")) == (1, 0)
    assert "names no schema that exists" in sentence
    query(statement)
    assert run_script("create_schema.py").returncode == 0


# == A pooler ===================================================================================


@pytest.fixture
def pooler(tmp_path: Path, settings: Settings) -> Iterator[StartPooler]:
    """Starts PgBouncer in front of the test's PostgreSQL: `pooler("session")` is its port."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    with ExitStack() as started:

        def start(mode: str) -> int:
            port = free_port()
            configuration = tmp_path / f"pgbouncer-{mode}.ini"
            configuration.write_text(
                f"[databases]\n* = host={settings.postgres_host} port={settings.postgres_port} "
                f"user={settings.postgres_user} password={settings.postgres_password}\n"
                f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
                f"auth_type = any\npool_mode = {mode}\n"
            )
            as_user = ["-u", pwd.getpwnam("nobody").pw_name] if os.geteuid() == 0 else []
            process = subprocess.Popen([program, "-q", *as_user, str(configuration)])
            started.callback(process.wait)
            started.callback(process.kill)
            eventually(lambda: _is_open(port))
            return port

        yield start


def _is_open(port: int) -> bool:
    with closing(socket.socket()) as tried:
        return tried.connect_ex((HOST, port)) == 0


def _pooler_finding(settings: Settings) -> Finding:
    (found,) = (
        finding
        for finding in run_checks(postgres_checks.checks(settings, datetime.now(UTC)))
        if finding.name == "pooler"
    )
    return found


def test_the_pipeline_is_exact_behind_a_pooler_in_session_mode_and_the_doctor_knows_the_mode(
    environment: dict[str, str], settings: Settings, pooler: StartPooler, run_script: RunScript
) -> None:
    assert _pooler_finding(settings).text == "none"
    behind = {"POSTGRES_PORT": str(pooler("session")), "POSTGRES_SSLMODE": "disable"}
    pooled = Settings.from_mapping({**environment, **behind})
    assert _pooler_finding(pooled).text == "in session mode"
    events = random_events(200, visitors=10, seed=11)
    send_by_visitor(environment, events)
    assert run_script("create_schema.py", **behind).returncode == 0
    assert run_script("consumer.py", "--drain", **behind).returncode == 0
    assert oracle.check(environment)["records"] == len(events)

    shared = {**environment, **behind, "POSTGRES_PORT": str(pooler("transaction"))}
    assert "pool_mode = session" in _pooler_finding(Settings.from_mapping(shared)).text
