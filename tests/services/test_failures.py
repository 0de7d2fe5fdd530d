"""Servers and consumers that fail: every record is stored once, and the sessions stay exact."""

from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGSTOP
from time import monotonic

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from clickstream.admin import setup
from clickstream.consumer.gathering import POLL_MS
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.databases import Query, query_of
from tests.services.locks import LOCK_SESSIONS, holding, wait_until_blocked
from tests.services.own_server import OwnServer
from tests.services.records import event, random_events, send, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

SMALL_BATCHES = {"CONSUMER_BATCH_EVENTS": "100", "CONSUMER_BATCH_MS": "50"}
# A fetch of a stopped consumer, which would be answered with the next records, ends before this.
FETCH_END_SECONDS = 20 * POLL_MS / 1000
COUNT_EVENTS = "SELECT count(*) FROM clickstream_events"


# == The consumer is killed =====================================================================


@pytest.mark.long
def test_a_consumer_killed_in_the_middle_of_a_batch_loses_nothing(
    environment: dict[str, str],
    settings: Settings,
    run_script: RunScript,
    start_script: StartScript,
    query: Query,
) -> None:
    """Its events are inserted, its sessions are not, and its backend outlives it."""
    events = random_events(1_000, visitors=30, seed=2)
    consumer = start_script("consumer.py", **SMALL_BATCHES)
    send_by_visitor(environment, events[:500])
    wait_until_read(query, 500)
    with holding(settings, LOCK_SESSIONS):
        send_by_visitor(environment, events[500:])
        wait_until_blocked(query)
        consumer.send_signal(SIGKILL)
        assert consumer.wait() == -SIGKILL
        successor = start_script("consumer.py", "--drain", **SMALL_BATCHES)
        successor.wait_for_output("reading partitions")
    assert successor.wait() == 0
    counters = oracle.check(environment)
    assert counters["records"] == len(events)
    assert run_script("summary.py", "--verify").returncode == 0


# == PostgreSQL =================================================================================


@pytest.mark.long
@pytest.mark.parametrize("end", ["stopped for 10 s", "killed"])
def test_the_consumer_continues_by_itself_after_an_outage_of_postgres(
    end: str, environment: dict[str, str], own_postgres: OwnServer, start_script: StartScript
) -> None:
    """Records are sent during the outage too."""
    own = {**environment, **own_postgres.environment}
    query = query_of(own)
    consumer = start_script("consumer.py", **own_postgres.environment, **SMALL_BATCHES)
    events = random_events(1_000, visitors=30, seed=3)
    send_by_visitor(environment, events[:500])
    wait_until_read(query, 500)
    send_by_visitor(environment, events[500:700])
    own_postgres.kill() if end == "killed" else own_postgres.stop()
    gone = monotonic()
    send_by_visitor(environment, events[700:])
    eventually(lambda: end == "killed" or monotonic() > gone + 10)
    own_postgres.start()
    wait_until_read(query, len(events))
    assert consumer.is_running
    assert "Traceback" not in consumer.output
    assert oracle.check(own)["records"] == len(events)


# == The broker =================================================================================


@pytest.fixture
def with_own_broker(environment: dict[str, str], own_broker: OwnServer) -> dict[str, str]:
    """The settings of a broker of the test's own, without a topic."""
    return {**environment, **own_broker.environment}


def test_a_consumer_that_starts_before_the_broker_waits_for_it(
    with_own_broker: dict[str, str],
    own_broker: OwnServer,
    run_script: RunScript,
    start_script: StartScript,
    query: Query,
) -> None:
    """It says so, and begins with the first record."""
    own_broker.stop()
    consumer = start_script("consumer.py", **with_own_broker)
    consumer.wait_for_output(f"cannot reach Kafka at {with_own_broker['KAFKA_BOOTSTRAP_SERVERS']}")
    own_broker.start()
    assert run_script("create_schema.py", **with_own_broker).returncode == 0
    events = random_events(100, visitors=5, seed=4)
    send_by_visitor(with_own_broker, events)
    wait_until_read(query, len(events))
    oracle.check(with_own_broker)


def test_a_consumer_that_starts_before_the_topic_exists_waits_for_it(
    environment: dict[str, str],
    admin: KafkaAdminClient,
    run_script: RunScript,
    start_script: StartScript,
    query: Query,
) -> None:
    """It begins with the first record. (The local broker creates a topic by itself.)"""
    topic = f"{environment['KAFKA_TOPIC']}-later"
    later = {**environment, "KAFKA_TOPIC": topic}
    consumer = start_script("consumer.py", **later)
    eventually(lambda: "does not exist yet" in consumer.output or topic in consumer.output)
    try:
        assert run_script("create_schema.py", **later).returncode == 0
        events = random_events(100, visitors=5, seed=4)
        send_by_visitor(later, events)
        wait_until_read(query, len(events))
    finally:
        admin.delete_topics([topic])
    assert consumer.is_running
    oracle.check(later)


@pytest.mark.long
@pytest.mark.parametrize(("consumer_runs", "new_events"), [(True, 50), (True, 400), (False, 400)])
def test_every_record_of_a_broker_that_lost_its_data_is_read(
    consumer_runs: bool,
    new_events: int,
    with_own_broker: dict[str, str],
    own_broker: OwnServer,
    start_script: StartScript,
    query: Query,
) -> None:
    """The new log becomes shorter or longer than the stored position in the old one."""
    events = random_events(500, visitors=10, seed=5)
    before, after = events[:200], events[200 : 200 + new_events]
    settings = Settings.from_mapping(with_own_broker)
    setup.apply_topic(settings)
    consumer = start_script("consumer.py", **with_own_broker)
    send(with_own_broker, before)
    wait_until_read(query, len(before))
    if not consumer_runs:
        consumer.kill()
    own_broker.kill()
    own_broker.start()
    setup.apply_topic(settings)  # at once: a consumer may join without partitions before
    send(with_own_broker, after)
    if not consumer_runs:
        consumer = start_script("consumer.py", **with_own_broker)
    consumer.wait_for_output("the topic was recreated")
    wait_until_read(query, len(before) + len(after))
    oracle.check(with_own_broker)


def test_every_record_of_a_topic_recreated_while_the_consumer_runs_is_read(
    environment: dict[str, str],
    admin: KafkaAdminClient,
    start_script: StartScript,
    query: Query,
) -> None:
    """The new log soon is longer than the position in the old one."""
    topic = environment["KAFKA_TOPIC"]
    events = random_events(1_000, visitors=10, seed=6)
    consumer = start_script("consumer.py")
    send(environment, events[:100])
    wait_until_read(query, 100)
    admin.delete_topics([topic])

    def is_created() -> bool:
        try:
            admin.create_topics({topic: {"num_partitions": 3}})
        except KafkaError:  # it is still being deleted
            return False
        return True

    eventually(is_created)
    send(environment, events[100:])
    eventually(lambda: query(COUNT_EVENTS) == [(1_000,)])
    assert consumer.is_running
    oracle.check(environment)


@pytest.mark.long
def test_a_log_that_became_shorter_under_its_old_name_is_read_again(
    environment: dict[str, str], run_script: RunScript, start_script: StartScript, query: Query
) -> None:
    """This happens at an unclean leader election, or if a disk is restored."""
    events = random_events(300, visitors=10, seed=8)
    send(environment, events[:100], partition=0)
    assert run_script("consumer.py", "--drain").returncode == 0
    query("UPDATE stream_positions SET position = 1000 WHERE partition = 0")
    consumer = start_script("consumer.py")
    consumer.wait_for_output("became shorter")
    send(environment, events[100:], partition=0)
    eventually(lambda: query(COUNT_EVENTS) == [(300,)])
    assert consumer.is_running
    oracle.check(environment)


def test_partitions_added_while_the_consumer_runs_are_read_from_their_beginnings(
    environment: dict[str, str],
    admin: KafkaAdminClient,
    start_script: StartScript,
    query: Query,
) -> None:
    consumer = start_script("consumer.py")
    events = random_events(300, visitors=10, seed=7)
    send(environment, events[:100], partition=2)
    wait_until_read(query, 100)
    topic = environment["KAFKA_TOPIC"]
    try:
        admin.create_partitions({topic: 5})
    except KafkaError as error:
        pytest.skip(f"this broker cannot add partitions: {error}")
    eventually(lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 5)
    send(environment, events[100:], partition=4)
    wait_until_read(query, len(events))
    assert consumer.is_running
    oracle.check(environment)


@pytest.mark.parametrize("consumer_runs", [False, True])
def test_the_number_of_records_that_retention_removed_unread_is_reported(
    consumer_runs: bool,
    environment: dict[str, str],
    admin: KafkaAdminClient,
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    """The consumer continues at the earliest record left. The local broker removes no records."""
    events = [event("visitor", 60 * n) for n in range(100)]
    consumer = start_script("consumer.py")
    send(environment, events[:10])
    wait_until_read(query, 10)
    consumer.send_signal(SIGSTOP if consumer_runs else SIGKILL)
    stopped = monotonic()
    eventually(lambda: monotonic() > stopped + FETCH_END_SECONDS)
    send(environment, events[10:])
    try:
        admin.delete_records({TopicPartition(environment["KAFKA_TOPIC"], 0): 60})
    except KafkaError as error:
        pytest.skip(f"this broker cannot delete records: {error}")
    if consumer_runs:
        consumer.send_signal(SIGCONT)
    else:
        doctor = run_script("clickstream", "doctor")
        assert "removed 50 records" in doctor.stdout
        assert "partition 0: offsets 10 to 59" in doctor.stdout
        consumer = start_script("consumer.py")
    consumer.wait_for_output("LOST: 50 records of partition 0")
    assert "offsets 10 to 59" in consumer.output
    wait_until_read(query, 50)
    assert query("SELECT position FROM stream_positions WHERE partition = 0") == [(100,)]
    oracle.check(environment)


# == The rule, and other groups ==================================================================


@pytest.mark.long
def test_another_session_rule_is_refused_until_the_sessions_are_rebuilt(
    environment: dict[str, str], run_script: RunScript
) -> None:
    """The error names the command; after it the sessions follow the new rule."""
    events = random_events(600, visitors=10, seed=8)
    changed = {**environment, "SESSION_TIMEOUT_SECONDS": "600", "SESSION_START_EVENTS": "login"}
    send_by_visitor(environment, events[:300])
    assert run_script("consumer.py", "--drain").returncode == 0
    oracle.check(environment)

    refused = run_script("consumer.py", "--drain", **changed)
    assert refused.returncode == 1
    assert "create_schema.py --rebuild-sessions" in refused.stderr
    assert "Traceback" not in refused.stderr
    oracle.check(environment)

    assert run_script("create_schema.py", "--rebuild-sessions", **changed).returncode == 0
    oracle.check(changed)
    send_by_visitor(environment, events[300:])
    assert run_script("consumer.py", "--drain", **changed).returncode == 0
    assert oracle.check(changed)["records"] == len(events)
    assert run_script("summary.py", "--verify", **changed).returncode == 0


@pytest.mark.long
def test_sessions_stay_exact_if_they_are_rebuilt_while_a_consumer_runs(
    environment: dict[str, str], run_script: RunScript, start_script: StartScript, query: Query
) -> None:
    """After a rebuild by another rule the consumer stops and names the command."""
    events = random_events(1_500, visitors=30, seed=9)
    consumer = start_script("consumer.py", **SMALL_BATCHES)
    for first in range(0, len(events), 500):
        send_by_visitor(environment, events[first : first + 500])
        assert run_script("create_schema.py", "--rebuild-sessions").returncode == 0
    wait_until_read(query, len(events))
    assert oracle.check(environment)["records"] == len(events)
    assert consumer.is_running

    changed = {**environment, "SESSION_TIMEOUT_SECONDS": "600"}
    assert run_script("create_schema.py", "--rebuild-sessions", **changed).returncode == 0
    assert consumer.wait() == 1
    assert "--rebuild-sessions" in consumer.output
    oracle.check(changed)


@pytest.mark.long
def test_a_second_group_topic_or_cluster_is_refused_while_the_first_one_works(
    environment: dict[str, str],
    create_topic: Callable[[int], str],
    own_broker: OwnServer,
    run_script: RunScript,
    start_script: StartScript,
    query: Query,
) -> None:
    """When the first one has ended, another group continues from the stored positions."""
    events = random_events(200, visitors=5, seed=10)
    first = start_script("consumer.py")
    send_by_visitor(environment, events[:100])
    wait_until_read(query, 100)
    other_cluster = own_broker.environment
    assert run_script("create_schema.py", **other_cluster).returncode == 0
    others = [
        ({"KAFKA_GROUP_ID": "another"}, f"consumer group '{environment['KAFKA_GROUP_ID']}'"),
        ({"KAFKA_TOPIC": create_topic(1)}, f"stores topic '{environment['KAFKA_TOPIC']}' in this"),
        (other_cluster, "of another Kafka cluster in this database"),
    ]
    for settings, sentence in others:
        refused = run_script("consumer.py", "--drain", **settings)
        assert refused.returncode == 1
        assert sentence in refused.stderr
        assert f"process {first.pid}" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "starting over" not in first.output

    first.kill()
    send_by_visitor(environment, events[100:])
    assert run_script("consumer.py", "--drain", KAFKA_GROUP_ID="another").returncode == 0
    assert oracle.check(environment)["records"] == len(events)
