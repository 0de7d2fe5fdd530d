"""`python -m clickstream find`: finds an event, a record or the sessions of a visitor."""

import subprocess

import pytest

from tests.services.databases import Query
from tests.services.records import event, send
from tests.services.scripts import PROJECT, RunScript

ID = "0199f7a2-6f6d-7cc1-8d0e-6ddf2f6a2c11"
SESSION = "SELECT session_id::text FROM session_metrics"
UNREACHABLE = "127.0.0.1:1"


def facts(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the text that a command printed after each label; check that lines fit 80 columns.

    A command to paste takes one line, however long the paths in it are.
    """
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if str(PROJECT) not in line) <= 80
    return {line[:10].strip(): line[10:] for line in lines}


def store(run_script: RunScript) -> None:
    assert run_script("consumer.py", "--drain").returncode == 0


def test_a_stored_event_is_found_by_its_id_with_its_session(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [event("visitor", 0, event_id=ID), event("visitor", 1)])
    store(run_script)
    done = run_script("clickstream", "find", ID.upper())
    assert (done.returncode, done.stderr) == (0, "")
    found = facts(done)
    assert (found["event"], found["visitor"], found["type"]) == (ID, "visitor", "page_view")
    assert found["time"] == "2025-06-02T10:00:00+00:00"
    assert [(found["session"],)] == query(SESSION)


def test_an_id_that_is_no_uuid_is_found_as_it_was_sent(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("visitor", 0, event_id="order-17")])
    store(run_script)
    done = run_script("clickstream", "find", "order-17")
    assert done.returncode == 0
    assert facts(done)["visitor"] == "visitor"


def test_a_rejected_record_is_found_by_the_id_it_contains_and_by_its_offset(
    environment: dict[str, str], run_script: RunScript
) -> None:
    broken = event("visitor", 0, event_id=ID, timestamp="yesterday")
    send(environment, [event("visitor", 0), broken])
    store(run_script)
    for what in (ID, "0:1"):
        done = run_script("clickstream", "find", what)
        assert done.returncode == 0
        assert facts(done)["rejected"].startswith("record 0:1 as bad_timestamp: ")
        assert "python -m clickstream rejected show 0:1" in done.stdout


def test_an_unknown_event_is_not_found_and_the_number_of_unread_records_is_shown(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("visitor", 0)])
    store(run_script)
    done = run_script("clickstream", "find", ID)
    assert done.returncode == 1
    assert f"No event {ID} is stored" in done.stdout
    assert "Every record of topic" in done.stdout
    send(environment, [event("visitor", 0, event_id=ID)] * 3)
    done = run_script("clickstream", "find", ID)
    assert done.returncode == 1
    assert "3 records are not read yet." in done.stdout


def test_the_event_of_an_offset_is_found_also_if_the_record_was_a_duplicate(
    environment: dict[str, str], run_script: RunScript
) -> None:
    known = event("visitor", 0, event_id=ID)
    send(environment, [event("visitor", 1), known, event("other", 2, event_id="")])
    store(run_script)
    first = run_script("clickstream", "find", "0:1")
    assert first.returncode == 0
    assert facts(first)["event"] == ID
    assert facts(first)["record"].startswith("stored, or a duplicate")
    send(environment, [known])
    store(run_script)
    again = run_script("clickstream", "find", "0:3")
    assert facts(again)["event"] == ID
    assert facts(again)["record"] == (
        "a duplicate: its event was stored before this record was sent"
    )
    without_id = run_script("clickstream", "find", "0:2")
    assert facts(without_id)["visitor"] == "other"


def test_an_offset_that_is_not_read_yet_names_the_position(
    environment: dict[str, str], run_script: RunScript
) -> None:
    unread = run_script("clickstream", "find", "0:0")
    assert unread.returncode == 1
    assert "Record 0:0 is not read yet" in unread.stdout
    send(environment, [event("visitor", 0)])
    store(run_script)
    done = run_script("clickstream", "find", "0:1")
    assert done.returncode == 1
    assert "the next record to read of partition 0" in " ".join(done.stdout.split())


def test_an_event_that_was_deleted_is_not_found_by_its_offset(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [event("visitor", 0, event_id=ID), b"{"])
    store(run_script)
    query("DELETE FROM clickstream_events")
    query("DELETE FROM rejected_events")
    gone = run_script("clickstream", "find", "0:0")
    assert gone.returncode == 1
    assert f"its event {ID}" in " ".join(gone.stdout.split())
    gone = run_script("clickstream", "find", "0:1")
    assert gone.returncode == 1
    assert "no longer among the rejected records" in " ".join(gone.stdout.split())


def test_without_kafka_a_record_that_only_kafka_has_gives_one_sentence(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("visitor", 0), b"{"])
    store(run_script)
    done = run_script("clickstream", "find", "0:0", KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot reach Kafka at {UNREACHABLE}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run_script("clickstream", "find", "0:1", KAFKA_BOOTSTRAP_SERVERS=UNREACHABLE)
    assert facts(done)["rejected"].startswith("record 0:1 as not_json")


def test_a_visitor_is_found_with_sessions_and_rejected_records(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    broken = event("visitor", 0, timestamp="yesterday")
    send(environment, [event("visitor", 0), event("visitor", 1), event("visitor", 7200), broken])
    store(run_script)
    done = run_script("clickstream", "find", "--user", "visitor")
    assert done.returncode == 0
    assert all(session in done.stdout for (session,) in query(SESSION))
    assert facts(done)["rejected"].startswith("record 0:3 as bad_timestamp")
    unknown = run_script("clickstream", "find", "--user", "nobody")
    assert unknown.returncode == 1
    assert "No event of visitor nobody is stored" in unknown.stdout


@pytest.mark.parametrize("arguments", [[], [ID, "--user", "visitor"], [""]])
def test_find_without_exactly_one_thing_to_find_is_misuse(
    arguments: list[str], run_script: RunScript
) -> None:
    done = run_script("clickstream", "find", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
