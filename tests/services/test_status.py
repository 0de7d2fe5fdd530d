"""`python -m clickstream status`: how far each partition is read, and by which consumer."""

import json
import re
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from kafka.record import default_records

from clickstream.settings import Settings
from tests.services.databases import Query
from tests.services.records import START, event, send, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.test_unreadable import send_batch, two_events
from tests.services.waiting import eventually

UNREACHABLE = "127.0.0.1:1"


def status_of(run_script: RunScript, **settings: str) -> dict[str, Any]:
    done = run_script("clickstream", "status", "--json", **settings)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_width(done: subprocess.CompletedProcess[str]) -> None:
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_status_shows_position_end_lag_watermark_and_owner_of_each_partition(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    consumer = start_script("consumer.py")
    send(environment, [event("a", n) for n in range(5)], partition=0)
    send(environment, [event("b", 60)], partition=2)
    wait_until_read(query, 6)
    done = run_script("clickstream", "status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(done.stdout)
    assert [(p["partition"], p["position"], p["end"]) for p in status["partitions"]] == [
        (0, 5, 5), (1, 0, 0), (2, 1, 1),
    ]  # fmt: skip
    assert status["total_lag_records"] == 0
    first, silent, third = status["partitions"]
    assert [p["lag_seconds"] for p in status["partitions"]] == [0, 0, 0]
    assert first["watermark"] == START.replace(second=4).isoformat()
    assert silent["watermark"] is None
    assert third["watermark"] == START.replace(minute=1).isoformat()
    assert first["owner"].endswith(f"process {consumer.pid}")
    committed = datetime.fromisoformat(first["last_commit"])
    assert 0 <= (datetime.now(UTC) - committed).total_seconds() < 600
    shown = run_script("clickstream", "status")
    check_width(shown)
    assert "lag       none: every record is read" in shown.stdout
    assert f"process {consumer.pid}: partitions 0 to 2" in shown.stdout


def test_status_fails_if_records_wait_and_no_consumer_runs(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("a", n) for n in range(4)])
    done = run_script("clickstream", "status")
    assert done.returncode == 1
    check_width(done)
    assert "lag       4 records, the oldest " in done.stdout
    assert re.search(r"none is running; start one with: \S+ \S*consumer\.py\n", done.stdout)
    first, *_ = status_of(run_script)["partitions"]
    assert (first["position"], first["end"], first["lag_records"]) == (None, 4, 4)
    assert 0 <= first["lag_seconds"] < 600
    assert first["owner"] is None


def test_records_that_cannot_be_decoded_count_as_lag(
    settings: Settings, run_script: RunScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(default_records, "gzip_encode", lambda _: b"no gzip")
        send_batch(settings, two_events("lost"), "gzip")
    done = run_script("clickstream", "status")
    assert (done.returncode, done.stderr) == (1, "")
    assert "lag       2 records" in done.stdout


def test_status_succeeds_without_consumer_if_every_record_is_read(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("a", 0), b"{"])
    assert run_script("consumer.py", "--drain").returncode == 0
    done = run_script("clickstream", "status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rejected  1 in the last hour" in done.stdout
    assert "search    off: OPENSEARCH_HOST is empty" in done.stdout


def test_a_killed_consumer_owns_no_partition(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    consumer = start_script("consumer.py")
    send(environment, [event("a", 0)])
    wait_until_read(query, 1)
    assert status_of(run_script)["partitions"][0]["owner"]
    consumer.kill()
    eventually(lambda: status_of(run_script)["partitions"][0]["owner"] is None)
    send(environment, [event("a", 1)])
    assert run_script("clickstream", "status").returncode == 1


def test_positions_of_an_earlier_topic_of_this_name_are_ignored(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [event("a", 0)])
    assert run_script("consumer.py", "--drain").returncode == 0
    query("UPDATE stream_positions SET topic_id = 'another', position = 1000")
    status = status_of(run_script)
    assert status["total_lag_records"] == 1
    assert status["partitions"][0]["position"] is None


def test_without_kafka_status_shows_what_postgresql_knows_and_one_sentence(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("a", 0)])
    assert run_script("consumer.py", "--drain").returncode == 0
    done = run_script("clickstream", "status", KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot reach Kafka at {UNREACHABLE}")
    assert len(done.stderr.splitlines()) == 1
    assert "lag       unknown without Kafka" in done.stdout
    status = status_of(run_script, KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    first, *_ = status["partitions"]
    assert (first["position"], first["end"], first["lag_records"]) == (1, None, None)
    assert status["total_lag_records"] is None


def test_status_of_a_topic_that_does_not_exist_names_the_command_that_creates_it(
    environment: dict[str, str], run_script: RunScript
) -> None:
    done = run_script("clickstream", "status", KAFKA_TOPIC=f"no-{environment['KAFKA_TOPIC']}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: topic no-{environment['KAFKA_TOPIC']} does not exist")
    assert "create_schema.py" in done.stderr


def test_status_shows_the_search_backlog(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("a", 0)])
    assert run_script("consumer.py", "--drain").returncode == 0
    status = status_of(run_script, OPENSEARCH_HOST="127.0.0.1")
    assert status["search_backlog"] == {
        "begun": False, "caught_up": False, "rows": 0, "seconds": 0.0,
    }  # fmt: skip
