"""`python -m clickstream positions`: showing and forgetting stored positions."""

import json

from tests.services.databases import Query
from tests.services.records import event, send
from tests.services.scripts import RunScript


def test_positions_fit_80_columns_and_are_json_if_asked(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    empty = run_script("clickstream", "positions", "show")
    assert empty.stdout == "No consumer has read anything yet.\n"
    send(environment, [event("a", 0), b"not JSON"])
    assert run_script("consumer.py", "--drain").returncode == 0
    query("UPDATE stream_positions SET position = 10 ^ 10 - 1, owner = repeat('long', 30)")

    lines = run_script("clickstream", "positions", "show").stdout.splitlines()
    assert lines[0] == f"Topic {environment['KAFKA_TOPIC']}"
    assert lines[2].split() == ["0", "9999999999", "2", "0", "0", "1", "0"]
    assert max(map(len, lines)) <= 80

    shown = json.loads(run_script("clickstream", "positions", "show", "--json").stdout)
    assert [each["records"] for each in shown["partitions"]] == [2, 0, 0]
    assert shown["partitions"][0]["topic"] == environment["KAFKA_TOPIC"]
    listed = json.loads(run_script("clickstream", "rejected", "list", "--json").stdout)
    assert listed["reasons"] == {"not_json": 1}
    assert [each["offset"] for each in listed["records"]] == [1]


def test_partitions_of_a_deleted_topic_can_be_forgotten_and_their_records_still_count(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    topic = environment["KAFKA_TOPIC"]
    send(environment, [event("a", 0), b"not JSON"])
    assert run_script("consumer.py", "--drain").returncode == 0
    refused = run_script("clickstream", "positions", "forget", topic)
    assert refused.returncode == 2
    assert f"Kafka has partitions [0, 1, 2] of topic {topic}" in refused.stderr

    query("UPDATE stream_positions SET topic = 'deleted'")
    forgotten = run_script("clickstream", "positions", "forget", "deleted")
    assert forgotten.stdout == "Forgot 3 partitions of topic deleted.\n", forgotten.stderr
    assert query("SELECT topic, records, rejected FROM stream_positions") == [("(forgotten)", 2, 1)]
    assert run_script("summary.py", "--verify").returncode == 0
    assert "2 read from 0 partitions" in run_script("summary.py").stdout
    assert run_script("clickstream", "rejected", "delete", "--yes").returncode == 0
    assert run_script("summary.py", "--verify").returncode == 0
    again = run_script("clickstream", "positions", "forget", "deleted")
    assert again.returncode == 1
    assert "no such position is stored" in again.stderr
