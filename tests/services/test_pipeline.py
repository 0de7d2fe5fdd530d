"""The pipeline from producer to tables: every record counts once, however often it is delivered."""

import json
import os
import re
from contextlib import closing
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.databases import Query
from tests.services.locks import LOCK_EVENTS, holding, wait_until_blocked
from tests.services.records import (
    event,
    random_events,
    send,
    send_by_visitor,
    value_of,
    wait_until_read,
)
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

TABLES = {
    "events": "SELECT * FROM clickstream_events ORDER BY event_time, event_id",
    "sessions": "SELECT * FROM session_metrics ORDER BY session_id",
    "rejections": 'SELECT * FROM rejected_events ORDER BY partition, "offset"',
}
COUNT_SESSIONS = "SELECT count(*), sum(total_events)::int FROM session_metrics"
SELECT_SIZES = "SELECT total_events FROM session_metrics ORDER BY first_event_timestamp"
# The value that `kcat -P` sends for a line typed by hand.
LINE = b'{"user_id": 42, "event_type": "page_view", "timestamp": "2025-06-02T10:00:00Z"}'


@pytest.mark.long
def test_1000_events_are_counted_exactly_and_are_duplicates_if_sent_again(
    environment: dict[str, str], run_script: RunScript, query: Query, tmp_path: Path
) -> None:
    """50 visitors with 2 sessions of 10 events each."""
    file = tmp_path / "events.ndjson"
    events = [
        event(f"visitor-{visitor}", session * 7200 + n * 60 + visitor)
        for session in range(2)
        for n in range(10)
        for visitor in range(50)
    ]
    file.write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    for times in (1, 2):
        assert run_script("producer.py", "--replay", str(file)).returncode == 0
        assert run_script("consumer.py", "--drain").returncode == 0
        counters = oracle.check(environment)
        assert (counters["rows"], counters["records"]) == (1_000, 1_000 * times)
        assert counters["duplicates"] == 1_000 * (times - 1)
        assert query(COUNT_SESSIONS) == [(100, 1_000)]


@pytest.mark.long
def test_records_read_again_change_only_the_counter_of_duplicates(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    """Events, lines without an id, and invalid records, after a reset of the positions."""
    events = random_events(500, visitors=20, seed=1)
    send_by_visitor(environment, events)
    send(environment, [LINE, b"not JSON", None, LINE])
    assert run_script("consumer.py", "--drain").returncode == 0
    before = oracle.check(environment)
    tables = {name: query(sql) for name, sql in TABLES.items()}
    assert before["records"] == len(events) + 4
    assert before["rejected"] == 2

    assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
    assert run_script("consumer.py", "--drain").returncode == 0
    after = oracle.check(environment)
    assert {name: query(sql) for name, sql in TABLES.items()} == tables
    assert after["records"] == 2 * before["records"]
    assert after["duplicates"] == before["duplicates"] + before["records"]


def test_a_line_without_event_id_is_stored_once_for_each_time_it_was_sent(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    """kcat sends such lines: two identical ones are two events, a redelivery is a duplicate."""
    send(environment, [LINE, LINE], partition=1)
    for _ in ("first", "redelivered"):
        assert run_script("consumer.py", "--drain").returncode == 0
        assert query("SELECT user_id, total_events FROM session_metrics") == [("42", 2)]
        assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
    oracle.check(environment)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_records_compressed_by_any_codec_are_read(
    codec: str, settings: Settings, environment: dict[str, str], run_script: RunScript
) -> None:
    options = connection_options(settings)
    with closing(KafkaProducer(compression_type=codec, **options)) as producer:
        for number in range(50):
            value = value_of(event("visitor", number))
            producer.send(settings.kafka_topic, key=b"visitor", value=value)
        producer.flush()
    assert run_script("consumer.py", "--drain").returncode == 0
    assert oracle.check(environment)["rows"] == 50


def test_a_running_consumer_reads_everything_again_after_a_reset_of_the_positions(
    environment: dict[str, str], run_script: RunScript, start_script: StartScript, query: Query
) -> None:
    """Every record is then a duplicate."""
    events = random_events(200, visitors=10, seed=2)
    consumer = start_script("consumer.py")
    send_by_visitor(environment, events)
    wait_until_read(query, len(events))
    assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
    wait_until_read(query, 2 * len(events))
    assert consumer.is_running
    assert oracle.check(environment)["rows"] == 200


def test_records_of_aborted_transactions_are_not_stored(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    """They and the markers of commit and abort occupy offsets, which a drain passes."""
    if "TEST_KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        pytest.skip("the local broker delivers aborted records; give TEST_KAFKA_BOOTSTRAP_SERVERS")
    settings = Settings.from_mapping(environment)
    options = {"transactional_id": environment["KAFKA_TOPIC"], **connection_options(settings)}
    with closing(KafkaProducer(transaction_timeout_ms=10_000, **options)) as producer:
        producer.init_transactions()
        for number, finish in enumerate(("commit", "abort", "commit", "abort")):
            producer.begin_transaction()
            for each in range(10):
                value = value_of(event(f"{finish} {number}", each))
                producer.send(settings.kafka_topic, value, partition=0)
            producer.flush()
            getattr(producer, f"{finish}_transaction")()
    assert run_script("consumer.py", "--drain").returncode == 0
    assert query("SELECT DISTINCT user_id FROM clickstream_events ORDER BY 1") == [
        ("commit 0",), ("commit 2",),
    ]  # fmt: skip
    assert query("SELECT position FROM stream_positions WHERE partition = 0") == [(44,)]
    assert oracle.check(environment)["records"] == 20


@pytest.mark.parametrize("signal", [SIGINT, SIGTERM])
def test_a_session_continues_after_the_consumer_was_stopped(
    signal: Signals, environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """The consumer exits with 0, and the next one reads the session from the tables."""
    session: list[Any] = [event("visitor", seconds) for seconds in range(0, 600, 60)]
    for events, total in ((session[:4], 4), (session[4:], 10)):
        consumer = start_script("consumer.py")
        send(environment, events)
        wait_until_read(query, total)
        consumer.send_signal(signal)
        assert consumer.wait() == 0
    assert query(SELECT_SIZES) == [(10,)]
    assert "Traceback" not in consumer.output
    oracle.check(environment)


def test_a_second_signal_ends_a_blocked_consumer_at_once(
    environment: dict[str, str], settings: Settings, start_script: StartScript, query: Query
) -> None:
    """It waits for PostgreSQL in the middle of a batch, of which nothing is stored."""
    consumer = start_script("consumer.py")
    send(environment, [event("visitor", 0)])
    wait_until_read(query, 1)
    with holding(settings, LOCK_EVENTS):
        send(environment, [event("visitor", 1)])
        wait_until_blocked(query)
        consumer.send_signal(SIGINT)
        eventually(lambda: signal_is_default(consumer.pid, SIGINT))
        consumer.send_signal(SIGINT)
        assert consumer.wait() == -SIGINT
    assert query("SELECT count(*) FROM clickstream_events") == [(1,)]


def signal_is_default(pid: int, signal: Signals) -> bool:
    """Return True if a process has no handler for a signal (on Linux; elsewhere always)."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", status.read_text(encoding="ascii"))
    return not int(caught, 16) & 1 << (signal - 1)


def test_offsets_of_stored_records_are_committed_to_kafka_when_traffic_has_stopped(
    environment: dict[str, str],
    start_script: StartScript,
    query: Query,
    admin: KafkaAdminClient,
) -> None:
    """Tools that show the lag read them; nothing starts from them."""
    group = environment["KAFKA_GROUP_ID"]

    def committed() -> dict[int, int]:
        offsets = admin.list_group_offsets([group])[group]
        return {each.partition: found.offset for each, found in offsets.items() if found.offset > 0}

    start_script("consumer.py")
    for number in range(20):
        send(environment, [event(f"visitor-{number}", number)])
    wait_until_read(query, 20)
    positions = dict(query("SELECT partition, position FROM stream_positions WHERE position > 0"))
    eventually(lambda: committed() == positions)
