"""The whole pipeline with credentials as Aiven and container platforms provide them.

The servers are as on Aiven: Kafka with client certificates, PostgreSQL with verified TLS.
"""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from clickstream.local import kafka_server, postgres_server, processes, server
from clickstream.local.ports import free_port
from clickstream.settings import Settings
from tests.pki import Authority
from tests.services.scripts import Script, command, plain_environment
from tests.services.terraform_outputs import write_outputs
from tests.services.tls_proxy import tls_proxy


@pytest.fixture
def authority() -> Authority:
    """The certification authority of the project on Aiven."""
    return Authority("the project's CA")


@pytest.fixture
def kafka_port(authority: Authority, tmp_path: Path) -> Iterator[int]:
    """The port of a broker that requires a client certificate and advertises this port."""
    own_port = free_port()
    broker = kafka_server.broker(tmp_path)
    broker.prepare()
    pair = authority.issue("server", hosts=("localhost",))
    upstream = ("127.0.0.1", own_port)
    with tls_proxy(tmp_path, upstream, pair, client_ca=authority.certificate) as port:
        line = broker.command(own_port)
        line[line.index("--advertised-listener-url") + 1] = f"tcp://localhost:{port}"
        process = processes.start(line, log=broker.log, folder=broker.folder)
        yield port
        server.stop(broker, process)


@pytest.fixture
def postgres_port(settings: Settings, authority: Authority, tmp_path: Path) -> Iterator[int]:
    """The port of a TLS proxy in front of the test's PostgreSQL."""
    upstream = (settings.postgres_host, settings.postgres_port)
    pair = authority.issue("server", hosts=("localhost",))
    with tls_proxy(tmp_path, upstream, pair, postgres=True) as port:
        yield port


def run(folder: Path, *line: str, **environment: str) -> str:
    """Run a script that must succeed in a folder, and return its output."""
    done = subprocess.run(
        command(*line),
        env=plain_environment(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.long
def test_from_terraform_outputs_to_a_verified_report_with_only_what_env_writes(
    settings: Settings, kafka_port: int, postgres_port: int, authority: Authority, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    pipeline = replace(
        settings,
        kafka_bootstrap_servers=f"localhost:{kafka_port}",
        postgres_host="localhost",
        postgres_port=postgres_port,
    )
    outputs = str(write_outputs(pipeline, pipeline, authority, tmp_path))
    run(project, "clickstream", "env", "--from", outputs)
    run(project, "clickstream", "grant", "--from", outputs)
    run(project, "create_schema.py")
    assert run(project, "clickstream", "doctor").endswith("All is well.\n")
    run(project, "producer.py", "--events", "500", "--backfill", "1d", "--seed", "1")
    run(project, "consumer.py", "--drain")
    assert "Verified 500 events" in run(project, "summary.py", "--verify")


# == Container platforms ========================================================================

PASSWORD = "p@ss/w:rd#? %&+\u00e9"


@pytest.fixture
def role(settings: Settings, maintenance: Callable[[str], None]) -> Iterator[str]:
    """The name of a role that owns the test's database and has PASSWORD."""
    if settings.postgres_user != postgres_server.USER:
        pytest.skip("needs a superuser of PostgreSQL")
    name = f"role@{uuid.uuid4().hex[:8]}"
    maintenance(f"""CREATE ROLE "{name}" LOGIN SUPERUSER PASSWORD '{PASSWORD}'""")
    yield name
    maintenance(f'DROP ROLE "{name}"')


@pytest.fixture
def container(
    settings: Settings,
    kafka_port: int,
    postgres_port: int,
    role: str,
    authority: Authority,
    tmp_path: Path,
) -> dict[str, str]:
    """The environment of a container: a URL and PEM texts, and a folder for temporary files."""
    client = authority.issue("clickstream")
    (tmp_path / "my ca.pem").write_text(authority.certificate)
    user, password = quote(role, safe=""), quote(PASSWORD, safe="")
    tls = f"sslmode=verify-full&sslrootcert={quote(str(tmp_path / 'my ca.pem'))}"
    (tmp_path / "temporary").mkdir()
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{kafka_port}",
        "KAFKA_TOPIC": settings.kafka_topic,
        "KAFKA_CA_CERT": authority.certificate,
        "KAFKA_ACCESS_CERT": client.certificate,
        "KAFKA_ACCESS_KEY": client.key.replace("\n", "\\n"),
        "DATABASE_URL": f"postgres://{user}:{password}@localhost:{postgres_port}"
        f"/{settings.postgres_database}?{tls}",
        "TMPDIR": str(tmp_path / "temporary"),
    }


def test_the_pipeline_runs_with_a_database_url_and_pem_texts(
    container: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("POSTGRES_HOST=nowhere.invalid\nPOSTGRES_PASSWORD=hidden\n")
    run(tmp_path, "create_schema.py", **container)
    doctor = run(tmp_path, "clickstream", "doctor", **container)
    assert "the client certificate is accepted" in doctor
    assert "DATABASE_URL, KAFKA_ACCESS_CERT, KAFKA_ACCESS_KEY" in doctor
    assert not [part for part in (PASSWORD, quote(PASSWORD), "BEGIN") if part in doctor]
    run(tmp_path, "producer.py", "--events", "500", "--backfill", "1d", "--seed", "1", **container)
    run(tmp_path, "consumer.py", "--drain", **container)
    assert "Verified 500 events" in run(tmp_path, "summary.py", "--verify", **container)


def test_a_killed_consumer_leaves_no_key_on_the_disk(
    container: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".env").touch()
    run(tmp_path, "create_schema.py", **container)
    consumer = Script(command("consumer.py"), container, tmp_path)
    try:
        consumer.wait_for_output("reading partitions")
        assert list((tmp_path / "temporary").iterdir()) == []
    finally:
        consumer.kill()
    assert list((tmp_path / "temporary").iterdir()) == []
