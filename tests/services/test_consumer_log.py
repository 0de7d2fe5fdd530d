"""The consumer's log gives the records by outcome, and warns if some were rejected."""

import json
import socket
from datetime import UTC, datetime, timedelta
from signal import SIGCONT, SIGINT, SIGSTOP

import pytest

from clickstream import __version__
from clickstream.consumer.postgres_watch import CHECK_SECONDS, SILENT_SECONDS
from clickstream.settings import Settings
from tests.services.databases import Query
from tests.services.locks import LOCK_EVENTS, holding, wait_until_blocked
from tests.services.records import event, send, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import pause

LIST = "; list them with: python -m clickstream rejected list"
NO_VISITOR = {"event_type": "page_view", "timestamp": "2025-06-02T10:00:00Z"}
BEFORE_ALL_YEARS = -(10**12)


def messages(output: str) -> list[str]:
    """Return the lines of a log without their times."""
    return [line.partition(" ")[2] for line in output.splitlines()]


def warnings(output: str) -> list[str]:
    return [line for line in messages(output) if line.startswith("WARNING")]


def test_a_drain_begins_with_its_names_and_ends_with_the_number_of_records_by_outcome(
    environment: dict[str, str], run_script: RunScript
) -> None:
    group, topic = environment["KAFKA_GROUP_ID"], environment["KAFKA_TOPIC"]
    first = (
        f"INFO clickstream {__version__}: group {group} reads topic {topic} into database "
        f"{environment['POSTGRES_DATABASE']}"
    )
    rejected = f"3 rejected (2 missing_field, 1 not_json){LIST}"
    for contents, last in (
        ([], "INFO 0 records: 0 stored"),
        ([event("a", 0, event_id="1")] * 2, "INFO 2 records: 1 stored, 1 duplicate"),
        ([event("a", 1), NO_VISITOR, b"{", NO_VISITOR], f"WARNING 4 records: 1 stored, {rejected}"),
    ):
        send(environment, contents)
        drained = run_script("consumer.py", "--drain")
        assert drained.returncode == 0
        assert (messages(drained.stderr)[0], messages(drained.stderr)[-1]) == (first, last)


def test_a_running_consumer_warns_of_rejected_records_once_in_an_interval_and_at_its_end(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    send(environment, [NO_VISITOR, event("a", 0), b"{"])
    consumer = start_script("consumer.py")
    consumer.wait_for_output(" rejected list")
    interval = "WARNING 2 of 3 records were rejected (1 missing_field, 1 not_json)" + LIST
    assert warnings(consumer.output) == [interval]
    send(environment, [NO_VISITOR])
    wait_until_read(query, 4)
    consumer.send_signal(SIGINT)
    assert consumer.wait() == 0
    total = "WARNING 4 records: 1 stored, 3 rejected (2 missing_field, 1 not_json)" + LIST
    printed = warnings(consumer.output)
    assert (printed[0], printed[-1]) == (interval, total)
    # The fourth record has a warning of its own only if an interval ends before the signal comes.
    assert len(printed) in {2, 3}


def test_most_of_a_batch_ahead_of_the_clock_is_a_warning_that_names_the_clock_of_the_host(
    environment: dict[str, str], run_script: RunScript
) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    send(environment, [event("a", 0), *(event("a", 0, timestamp=ahead) for _ in range(2))])
    clock, total = warnings(run_script("consumer.py", "--drain").stderr)
    assert clock.startswith(
        "WARNING 2 of 3 records have a timestamp more than MAX_FUTURE_SECONDS ahead of the clock "
        f"of this host ({socket.gethostname()}: 2"
    )
    assert clock.endswith("rejected retry --reason timestamp_out_of_range")
    assert total.startswith("WARNING 3 records: 1 stored, 2 rejected (2 timestamp_out_of_range)")


def test_timestamps_of_the_past_say_nothing_about_the_clock(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("a", 0, timestamp=BEFORE_ALL_YEARS)])
    (total,) = warnings(run_script("consumer.py", "--drain").stderr)
    assert total.startswith("WARNING 1 record: 0 stored, 1 rejected (1 timestamp_out_of_range)")


def test_json_lines_have_the_numbers_as_fields(
    environment: dict[str, str], start_script: StartScript
) -> None:
    send(environment, [event("a", 0), event("a", 1), NO_VISITOR])
    consumer = start_script("consumer.py", LOG_FORMAT="json")
    consumer.wait_for_output("3 records in ")
    consumer.send_signal(SIGINT)
    assert consumer.wait() == 0
    lines = [json.loads(line) for line in consumer.output.splitlines()]
    assert lines[0]["database"] == environment["POSTGRES_DATABASE"]
    progress = next(line for line in lines if line["message"].startswith("3 records in "))
    assert progress["level"] == "info"
    assert (progress["lag"], progress["sessions_open"]) == (0, 1)
    total = lines[-1]
    assert (total["records"], total["stored"], total["rejected"]) == (3, 2, 1)
    assert total["rejected_by_reason"] == {"missing_field": 1}


def test_errors_are_json_if_the_log_is(run_script: RunScript) -> None:
    failed = run_script("consumer.py", LOG_FORMAT="json", POSTGRES_DATABASE="no_such_database")
    assert failed.returncode == 1
    assert "does not exist" in json.loads(failed.stderr.splitlines()[-1])["message"]
    misused = run_script("consumer.py", LOG_FORMAT="json", KAFKA_TOPIC="")
    assert misused.returncode == 2
    error = json.loads(misused.stderr)
    assert error["level"] == "error"
    assert error["message"].startswith("KAFKA_TOPIC must not be empty")


@pytest.mark.slow
def test_an_idle_consumer_logs_one_line_a_minute(start_script: StartScript) -> None:
    consumer = start_script("consumer.py")
    consumer.wait_for_output("0 records in 6", seconds=150)
    progress = [line for line in messages(consumer.output) if " records in " in line]
    assert len(progress) == 1
    assert progress[0].endswith("0 sessions closed, 0 open (0 visitors in memory); lag 0")


@pytest.mark.long
def test_a_consumer_that_was_paused_does_not_say_that_postgresql_was_silent(
    environment: dict[str, str], settings: Settings, start_script: StartScript, query: Query
) -> None:
    consumer = start_script("consumer.py")
    send(environment, [event("a", 0)])
    wait_until_read(query, 1)
    with holding(settings, LOCK_EVENTS):
        send(environment, [event("a", 1)])
        wait_until_blocked(query)
        consumer.send_signal(SIGSTOP)
        pause(SILENT_SECONDS + CHECK_SECONDS)
        consumer.send_signal(SIGCONT)
        pause(2 * CHECK_SECONDS)
    wait_until_read(query, 2)
    assert "has not answered" not in consumer.output
