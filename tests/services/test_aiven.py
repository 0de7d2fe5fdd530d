"""From Terraform's outputs to a verified report, with nothing set but what `env` writes.

The servers are as on Aiven: Kafka by client certificate alone, PostgreSQL in TLS that is checked.
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
from tests.services.doors import tls_door
from tests.services.scripts import command, plain_environment
from tests.services.terraform_outputs import write_outputs


@pytest.fixture
def authority() -> Authority:
    """The certification authority of the project on Aiven."""
    return Authority("the project's CA")


@pytest.fixture
def kafka_port(authority: Authority, tmp_path: Path) -> Iterator[int]:
    """The port of a broker that sends its clients to this port, where each needs a certificate."""
    own_port = free_port()
    built = kafka_server.broker(tmp_path)
    built.prepare()
    pair = authority.issue("server", hosts=("localhost",))
    upstream = ("127.0.0.1", own_port)
    with tls_door(tmp_path, upstream, pair, client_ca=authority.certificate) as port:
        line = built.command(own_port)
        line[line.index("--advertised-listener-url") + 1] = f"tcp://localhost:{port}"
        process = processes.start(line, log=built.log, folder=built.folder)
        yield port
        server.stop(built, process)


@pytest.fixture
def postgres_port(settings: Settings, authority: Authority, tmp_path: Path) -> Iterator[int]:
    """A port at which the test's PostgreSQL speaks TLS."""
    upstream = (settings.postgres_host, settings.postgres_port)
    pair = authority.issue("server", hosts=("localhost",))
    with tls_door(tmp_path, upstream, pair, postgres=True) as port:
        yield port


def test_from_the_outputs_to_a_verified_report(
    settings: Settings, kafka_port: int, postgres_port: int, authority: Authority, tmp_path: Path
) -> None:
    place = tmp_path / "project"
    place.mkdir()
    there = replace(
        settings,
        kafka_bootstrap_servers=f"localhost:{kafka_port}",
        postgres_host="localhost",
        postgres_port=postgres_port,
    )
    outputs = str(write_outputs(there, there, authority, tmp_path))

    def run(*line: str) -> str:
        done = subprocess.run(
            command(*line),
            env=plain_environment({}),
            cwd=place,
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
