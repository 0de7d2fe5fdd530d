"""The producer with a real broker: every event arrives exactly once if the exit status is 0."""

import gzip
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from clickstream.admin import setup
from clickstream.clients.kafka import connection_options
from clickstream.local import stack
from clickstream.settings import Settings
from tests.services.own_server import OwnServer
from tests.services.scripts import RunScript, StartScript, command, plain_environment
from tests.services.waiting import eventually

FIXED = ("--backfill", "1d", "--until", "2025-01-31T12:00:00Z", "--seed", "7")


def records(environment: Mapping[str, str]) -> Iterator[Any]:
    """Return all records of a topic; nobody may be writing to it."""
    settings = Settings.from_mapping(dict(environment))
    options = connection_options(settings)
    with closing(KafkaConsumer(**options, auto_offset_reset="earliest")) as consumer:
        known = eventually(lambda: consumer.partitions_for_topic(settings.kafka_topic))
        partitions = [TopicPartition(settings.kafka_topic, number) for number in known]
        consumer.assign(partitions)
        while True:
            batches = consumer.poll(timeout_ms=1_000)
            if not batches:
                return
            for batch in batches.values():
                yield from batch


def values(environment: Mapping[str, str]) -> list[bytes]:
    return [record.value for record in records(environment)]


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
    sent = run_script("producer.py", "--rate", "2000", "--events", "12000")
    assert sent.returncode == 0, sent.stderr
    times = sorted(record.timestamp for record in records(environment))
    rates = [1000 * n / (times[n] - times[0]) for n in range(6_000, 12_000, 100)]
    # On a busy machine it falls behind for a moment and catches up; it is never ahead.
    assert max(rates) == pytest.approx(2_000, rel=0.02)


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


def test_a_broker_that_stops_answering_loses_and_duplicates_nothing(
    own_broker: OwnServer, start_script: StartScript, tmp_path: Path
) -> None:
    environment = {**own_broker.environment, "KAFKA_TOPIC": "events"}
    setup.apply_topic(Settings.from_mapping(environment))
    (broker,) = [each for each in stack.status(tmp_path / "own-broker") if each.process]
    assert broker.process
    script = start_script("producer.py", "--rate", "500", **environment)
    script.wait_for_output("acknowledged")
    os.kill(broker.process.pid, signal.SIGSTOP)
    # Longer than the request timeout of 30 s, so that the client sends again.
    script.wait_for_output("no answer from Kafka for 35 s", seconds=60)
    os.kill(broker.process.pid, signal.SIGCONT)
    script.send_signal(signal.SIGINT)
    assert script.wait() == 0
    (sent,) = re.findall(r"sent (\d+), acknowledged \1, failed 0", script.output)
    found = values(environment)
    assert len(found) == len(set(found)) == int(sent)


def test_ctrl_c_gives_up_waiting_for_a_broker_that_has_died(
    own_broker: OwnServer, start_script: StartScript, tmp_path: Path
) -> None:
    environment = {**own_broker.environment, "KAFKA_TOPIC": "events"}
    setup.apply_topic(Settings.from_mapping(environment))
    truth = tmp_path / "truth.json"
    script = start_script("producer.py", "--rate", "500", "--truth", str(truth), **environment)
    script.wait_for_output("acknowledged")
    own_broker.kill()
    script.wait_for_output("no answer from Kafka")
    script.send_signal(signal.SIGINT)
    assert script.wait(80) == 1
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
    assert "python create_schema.py" in sent.stderr


def test_an_unreachable_broker_is_reported_in_one_sentence(run_script: RunScript) -> None:
    sent = run_script("producer.py", "--events", "1", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert sent.returncode == 1
    assert sent.stderr.count("\n") == 1
    assert "cannot reach Kafka at 127.0.0.1:1" in sent.stderr


@pytest.mark.parametrize("acks", ["0", "1"])
def test_weaker_acks_warn_that_exit_status_0_proves_less(
    run_script: RunScript, environment: dict[str, str], acks: str
) -> None:
    sent = run_script("producer.py", "--events", "50", *FIXED, KAFKA_ACKS=acks)
    assert sent.returncode == 0, sent.stderr
    assert f"KAFKA_ACKS={acks} turns idempotence off" in sent.stderr
    assert len(values(environment)) == 50


def test_a_record_that_the_client_refuses_is_counted_and_the_exit_status_is_1(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    too_large = json.dumps({"note": "x" * 17_000_000})
    sent = run_script("producer.py", "--replay", "-", stdin=f"{{}}\n{too_large}\n{{}}\n")
    assert sent.returncode == 1
    assert "sent 3, acknowledged 2, failed 1" in sent.stderr
    assert "not acknowledged: 1 records" in sent.stderr
    assert values(environment) == [b"{}", b"{}"]


# == Replay =====================================================================================


LINES = [b'{"user_id": %d, "event_type": "click", "timestamp": %d}' % (n % 7, n) for n in range(99)]


def test_a_file_is_replayed_line_by_line(
    run_script: RunScript, environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join([*LINES, b"not json"])))
    sent = run_script("producer.py", "--replay", str(path))
    assert sent.returncode == 0, sent.stderr
    found = list(records(environment))
    assert sorted(record.value for record in found) == sorted([*LINES, b"not json"])
    assert {record.key for record in found if record.value != b"not json"} == {
        str(n).encode() for n in range(7)
    }


def test_a_strict_replay_stops_at_a_bad_line_after_sending_those_before(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    text = b"\n".join([*LINES[:10], b"not json", *LINES[10:]]).decode()
    sent = run_script("producer.py", "--replay", "-", "--strict", stdin=text)
    assert sent.returncode == 1
    assert "line 11 of -" in sent.stderr
    assert sorted(values(environment)) == sorted(LINES[:10])


def test_a_pipe_that_stays_open_does_not_keep_the_producer_from_stopping(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        command("producer.py", "--replay", "-"),
        env=plain_environment(environment),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as script:
        assert script.stdin
        script.stdin.write(LINES[0] + b"\n")
        script.stdin.flush()
        eventually(lambda: values(environment) == LINES[:1])
        script.send_signal(signal.SIGINT)
        assert script.wait(20) == 0
        script.stdin.close()


def test_a_replay_with_a_speed_follows_the_recorded_times(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    # Lines without a usable time must not make it wait.
    future = LINES[0].replace(b'"timestamp": 0', b'"timestamp": "9999-12-31T00:00:00Z"')
    lines = [b"not json", *LINES[:50], future, b"[]", *LINES[50:]]
    sent = run_script(
        "producer.py", "--replay", "-", "--speed", "50", stdin=b"\n".join(lines).decode()
    )
    assert sent.returncode == 0, sent.stderr
    found = {record.value: record.timestamp for record in records(environment)}
    assert set(found) == set(lines)
    # 98 recorded seconds.
    assert found[LINES[-1]] - found[LINES[0]] == pytest.approx(1960, abs=250)
    assert found[future] - found[LINES[0]] < 1500
