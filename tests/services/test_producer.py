"""The producer with a real broker: every event arrives exactly once if the exit status is 0."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from clickstream.admin import setup
from clickstream.local import stack
from clickstream.settings import Settings
from tests.services.own_server import OwnServer
from tests.services.scripts import RunScript, StartScript, command, plain_environment
from tests.services.topic import drift, records, values
from tests.services.waiting import eventually

FIXED = ("--backfill", "1d", "--until", "2025-01-31T12:00:00Z", "--seed", "7")


def test_the_given_number_of_events_arrives_keyed_by_visitor(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    sent = run_script("producer.py", "--events", "1000", *FIXED)
    assert sent.returncode == 0, sent.stderr
    assert "sent 1000, acknowledged 1000, failed 0" in sent.stderr
    found = list(records(environment))
    assert len(found) == 1000
    partitions: dict[bytes, set[int]] = {}
    for record in found:
        assert record.key.decode() == json.loads(record.value)["user_id"]
        partitions.setdefault(record.key, set()).add(record.partition)
    assert all(len(used) == 1 for used in partitions.values())


def test_a_dry_run_prints_the_bytes_that_would_be_sent(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    printed = run_script("producer.py", "--events", "300", *FIXED, "--dry-run")
    again = run_script("producer.py", "--events", "300", *FIXED, "--dry-run")
    assert printed.stdout == again.stdout
    assert run_script("producer.py", "--events", "300", *FIXED).returncode == 0
    assert sorted(values(environment)) == sorted(printed.stdout.encode().splitlines())


FAULTS = ("--late", "0.1", "--duplicate", "0.1", "--malformed", "0.1", "--skew", "60")


def test_the_same_seed_and_until_give_the_same_bytes_in_every_process(
    environment: dict[str, str], tmp_path: Path
) -> None:
    line = command("producer.py", "--dry-run", "--events", "2000", *FIXED, *FAULTS)

    def run(number: str, **settings: str) -> tuple[bytes, bytes]:
        truth = tmp_path / f"{number}.json"
        done = subprocess.run(
            [*line, "--truth", str(truth)],
            env=plain_environment({**environment, "PYTHONHASHSEED": number, **settings}),
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        return done.stdout, truth.read_bytes()

    first = run("1")
    assert len(first[0].splitlines()) > 2300
    assert run("2", TZ="Asia/Tokyo", LC_ALL="C") == first


def test_every_fault_is_counted_in_the_report(
    run_script: RunScript, environment: dict[str, str], tmp_path: Path
) -> None:
    truth = tmp_path / "truth.json"
    asked = ("--events", "1000", *FIXED, *FAULTS, "--unkeyed", "--truth", str(truth))
    sent = run_script("producer.py", *asked)
    assert sent.returncode == 0, sent.stderr
    shown = re.search(
        r"deliberate faults: (\d+) late, (\d+) duplicates, (\d+) malformed, "
        r"(\d+) with a wrong clock, (\d+) without a key",
        sent.stderr,
    )
    assert shown, sent.stderr
    late, duplicates, malformed, skewed, unkeyed = map(int, shown.groups())
    found = list(records(environment))
    assert late == pytest.approx(100, rel=0.4)
    assert 950 < skewed <= 1000
    assert len(found) == 1000 + duplicates + malformed
    assert unkeyed == sum(record.key is None for record in found)
    said = json.loads(truth.read_text(encoding="utf-8"))
    assert (said["duplicates"], sum(said["rejected"].values())) == (duplicates, malformed)


def test_records_are_sent_at_the_given_rate(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    sent = run_script("producer.py", "--rate", "1000", "--events", "6000")
    assert sent.returncode == 0, sent.stderr
    times = sorted(record.timestamp for record in records(environment))
    # One record each millisecond, and at least half of the 6 s between the two halves.
    assert abs(drift(times, range(6_000))) < 0.02 * 3_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_flushes_and_writes_the_truth_file(
    start_script: StartScript,
    environment: dict[str, str],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    truth = tmp_path / "truth.json"
    script = start_script("producer.py", "--rate", "300", *FAULTS, "--truth", str(truth))
    eventually(lambda: next(records(environment), None))
    script.send_signal(number)
    assert script.wait() == 0
    said = json.loads(truth.read_text(encoding="utf-8"))
    expected = said["events"] + said["duplicates"] + sum(said["rejected"].values())
    assert said["events"] > 0
    assert f"sent {expected}, acknowledged {expected}, failed 0" in script.output
    assert len(values(environment)) == expected


@pytest.mark.long
def test_a_broker_that_stops_answering_loses_and_duplicates_nothing(
    own_broker: OwnServer, start_script: StartScript, tmp_path: Path
) -> None:
    environment = {**own_broker.environment, "KAFKA_TOPIC": "events"}
    setup.apply_topic(Settings.from_mapping(environment))
    (broker,) = [each for each in stack.status(tmp_path / "own-broker") if each.process]
    assert broker.process
    script = start_script("producer.py", "--rate", "50", **environment)
    script.wait_for_output("acknowledged")
    os.kill(broker.process.pid, signal.SIGSTOP)
    # Longer than the request timeout of 30 s, so that the client sends again.
    script.wait_for_output("no answer from Kafka for 35 s", seconds=180)
    os.kill(broker.process.pid, signal.SIGCONT)
    script.send_signal(signal.SIGINT)
    assert script.wait() == 0
    (sent,) = re.findall(r"sent (\d+), acknowledged \1, failed 0", script.output)
    found = values(environment)
    assert len(found) == len(set(found)) == int(sent)


@pytest.mark.long
def test_ctrl_c_gives_up_waiting_for_a_broker_that_has_died(
    own_broker: OwnServer, start_script: StartScript, tmp_path: Path
) -> None:
    environment = {**own_broker.environment, "KAFKA_TOPIC": "events"}
    setup.apply_topic(Settings.from_mapping(environment))
    truth = tmp_path / "truth.json"
    script = start_script("producer.py", "--rate", "50", "--truth", str(truth), **environment)
    script.wait_for_output("acknowledged")
    own_broker.kill()
    script.wait_for_output("no answer from Kafka")
    script.send_signal(signal.SIGINT)
    assert script.wait(180) == 1
    counts = re.search(r"sent (\d+), acknowledged (\d+), failed (\d+)\n", script.output)
    assert counts, script.output
    sent, acknowledged, failed = map(int, counts.groups())
    assert sent == acknowledged + failed
    assert min(acknowledged, failed) > 0
    assert f"not acknowledged: {failed} records" in script.output
    assert "error: Kafka has not answered for 40 s" in script.output
    assert "Traceback" not in script.output
    assert not truth.exists()


def test_a_missing_topic_names_the_command_that_creates_it(run_script: RunScript) -> None:
    sent = run_script("producer.py", "--events", "1", KAFKA_TOPIC="no-such-topic")
    assert sent.returncode == 1
    assert sent.stderr.count("\n") == 1
    assert "'no-such-topic' does not exist" in sent.stderr
    assert "create_schema.py" in sent.stderr


def test_an_unreachable_broker_is_reported_in_one_sentence(run_script: RunScript) -> None:
    sent = run_script("producer.py", "--events", "1", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert sent.returncode == 1
    assert sent.stderr.count("\n") == 1
    assert "cannot reach Kafka at 127.0.0.1:1" in sent.stderr


@pytest.mark.parametrize("acks", ["0", "1"])
def test_weaker_acks_warn_that_exit_status_0_guarantees_less(
    run_script: RunScript, environment: dict[str, str], acks: str
) -> None:
    sent = run_script("producer.py", "--events", "50", *FIXED, KAFKA_ACKS=acks)
    assert sent.returncode == 0, sent.stderr
    assert f"KAFKA_ACKS={acks} turns idempotence off" in sent.stderr
    assert len(values(environment)) == 50
