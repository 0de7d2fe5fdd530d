"""`python -m clickstream stack` on servers that run already, which the tests of this file share."""

import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import psutil
import psycopg2
import pytest
from dotenv import dotenv_values
from kafka import KafkaAdminClient

from clickstream.clients.postgres import connect
from clickstream.local import search_server, stack
from clickstream.local.stack import Condition
from clickstream.settings import load
from tests.services.clone import Clone, is_gone
from tests.services.waiting import eventually

HAS_SEARCH = search_server.is_available()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A folder with servers, for all tests of this file: they take seconds to start."""
    clone = Clone(tmp_path_factory.mktemp("running"))
    yield clone
    stack.remove(clone.stack)


@pytest.fixture
def running(shared: Clone) -> Clone:
    """The shared servers, which all run, whatever the test before did."""
    found = stack.status(shared.stack)
    if any(each.condition not in (Condition.RUNNING, Condition.UNAVAILABLE) for each in found):
        shared.done("up")
    return shared


def test_the_env_file_has_the_address_of_every_server_and_they_listen_on_this_machine_only(
    running: Clone,
) -> None:
    settings = load(running.folder / ".env", environment={})
    before = running.count_events()
    running.store_event()
    assert running.count_events() == before + 1
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)) as admin:
        assert settings.kafka_topic in admin.list_topics()
    if HAS_SEARCH:
        socket.create_connection((settings.opensearch_host, settings.opensearch_port)).close()
    assert stat.S_IMODE((running.folder / ".env").stat().st_mode) == 0o600
    with pytest.raises(psycopg2.OperationalError, match="password"):
        connect(replace(settings, postgres_password="guess"), application="test")
    for pid in running.pids().values():
        listening = [
            each.laddr.ip
            for each in psutil.Process(pid).net_connections()
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_lines_for_psql_and_curl_run_when_they_are_pasted(running: Clone) -> None:
    lines = [line.strip() for line in running.done("status").splitlines()]
    (psql,) = (line for line in lines if "psql" in line)
    (count,) = paste(running, f"{psql} -At -c 'SELECT count(*) FROM clickstream_events'")
    assert int(count) == running.count_events()
    if HAS_SEARCH:
        (curl,) = (line for line in lines if line.startswith("curl"))
        assert paste(running, curl)[0].startswith("health status index")


def paste(clone: Clone, line: str) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", line], cwd=clone.folder, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_up_with_force_replaces_a_hand_made_env_file_and_keeps_a_backup(running: Clone) -> None:
    env_file = running.folder / ".env"
    env_file.write_text("KAFKA_TOPIC=mine\n")
    assert running.run("up").returncode == 1
    running.done("up", "--force")
    assert (running.folder / ".env.backup-1").read_text() == "KAFKA_TOPIC=mine\n"
    assert "POSTGRES_PORT" in dotenv_values(env_file)


def test_lines_added_to_the_env_file_are_kept_and_used(running: Clone) -> None:
    env_file = running.folder / ".env"
    before = env_file.read_text()
    env_file.write_text(f"{before}KAFKA_TOPIC_PARTITIONS=2\nKAFKA_TOPIC=narrow\n")
    assert "Topic narrow was created with 2 partitions" in running.done("up")
    assert dotenv_values(env_file)["KAFKA_TOPIC"] == "narrow"
    env_file.write_text(before)


@pytest.mark.long
def test_dead_servers_are_reported_and_started_again(running: Clone) -> None:
    before, events = running.pids(), running.count_events()
    running.store_event()
    for name in ("kafka", "postgres"):
        os.kill(before[name], signal.SIGKILL)
        eventually(partial(is_gone, before[name]))

    result = running.run("status")
    assert result.returncode == 1
    for name in ("kafka", "postgres"):
        server = running.server(name).server
        assert f"{server.title}: died; its log is {server.log}" in result.stdout

    running.done("up")
    after = running.pids()
    assert {name for name in before if before[name] != after[name]} == {"kafka", "postgres"}
    assert running.run("status").returncode == 0
    assert running.count_events() == events + 1


@pytest.mark.long
def test_an_occupied_port_is_replaced_and_the_env_file_updated(running: Clone) -> None:
    before = load(running.folder / ".env", environment={})
    running.done("down")
    with socket.create_server(("127.0.0.1", running.server("kafka").port or 0)):
        running.done("up")
    after = load(running.folder / ".env", environment={})
    assert after.kafka_bootstrap_servers != before.kafka_bootstrap_servers
    assert after.postgres_port == before.postgres_port
    assert running.run("status").returncode == 0


def test_a_frozen_server_is_reported_as_not_answering(running: Clone) -> None:
    pid = running.pids()["postgres"]
    os.kill(pid, signal.SIGSTOP)
    assert running.server("postgres").condition == Condition.SILENT
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: running.server("postgres").condition == Condition.RUNNING)
