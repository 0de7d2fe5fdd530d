"""From Terraform's outputs to a verified report, with only the settings that `env` writes.

The servers are as on Aiven: Kafka with client certificates, PostgreSQL with verified TLS.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clickstream.local import kafka_server, processes, server
from clickstream.local.ports import free_port
from clickstream.settings import Settings
from tests.pki import Authority
from tests.services.scripts import command, plain_environment
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


def test_from_the_outputs_to_a_verified_report(
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

    def run(*line: str) -> str:
        done = subprocess.run(
            command(*line),
            env=plain_environment({}),
            cwd=project,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    run("clickstream", "env", "--from", outputs)
    run("clickstream", "grant", "--from", outputs)
    run("create_schema.py")
    assert run("clickstream", "doctor").endswith("All is well.\n")
    run("producer.py", "--events", "500", "--backfill", "1d", "--seed", "1")
    run("consumer.py", "--drain")
    assert "Verified 500 events" in run("summary.py", "--verify")
