"""Upgrading a database of schema version 2: nothing is lost, stored twice or rejected as well."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from clickstream.model.events import Event, InvalidEventError
from clickstream.model.parse import parse
from clickstream.storage.event_table import identity
from clickstream.storage.schema import DROP_ALL, SCHEMA_VERSION, UPGRADES
from tests.services import oracle
from tests.services.catalogue import STORING, parts
from tests.services.databases import Query
from tests.services.records import send
from tests.services.scripts import RunScript
from tests.services.waiting import eventually

DATA = Path(__file__).parents[1] / "data" / "version_2"
# The ids of events without event_id depend on it.
TOPIC = "version-2-events"
PARTITIONS = 2

EVENTS = """
    SELECT event_time, event_id, user_id, nullif(order_id, ''), nullif(product_id, ''), price,
           quantity, page_url, properties::text, stored_at
    FROM clickstream_events ORDER BY event_time, event_id
"""
REJECTED = 'SELECT partition, "offset", reason FROM rejected_events'
SESSIONS = """
    SELECT to_jsonb(s) - '{xid,entry_referrer,engaged_seconds}'::text[]
    FROM session_metrics s ORDER BY session_id
"""
FILES = """
    SELECT relname::text, pg_relation_filenode(oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') ORDER BY 1
"""
MAKE_A_LARGE_ARRAY = """
    UPDATE session_metrics SET referrers = to_jsonb(ARRAY[repeat('x', 262144)])
    WHERE session_id = (SELECT min(session_id::text)::uuid FROM session_metrics)
"""
# The page views of version 2's data have no referrer. A checkpoint makes the upgrade log changes.
ADD_REFERRERS = """
    UPDATE clickstream_events SET referrer = 'https://search.example/' WHERE page_url IS NOT NULL;
    UPDATE session_metrics
    SET referrers = '["https://search.example/"]', unique_referrers_count = 1
    WHERE landing_page IS NOT NULL;
    INSERT INTO search_cursor (horizon, token, system_identifier) VALUES ('1', 'token', '1')
"""
CHANGED_SESSIONS = """
    SELECT count(entry_referrer) > 0, count(entry_referrer) = count(landing_page),
           count(entry_referrer) = (SELECT count(*) FROM session_changes)
    FROM session_metrics
"""
SET_TOPIC_ID = "UPDATE stream_positions SET topic_id = %s"
SET_REJECTED_TOPIC_ID = "UPDATE rejected_events SET topic_id = %s"

Place = tuple[int, int]


@pytest.fixture
def version_2(query: Query) -> None:
    """Make the test's database one of schema version 2."""
    load(query)


def load(query: Query) -> None:
    query(DROP_ALL)
    with gzip.open(DATA / "database.sql.gz", "rt", encoding="utf-8") as file:
        query(file.read())


def records() -> dict[Place, bytes | None]:
    """Return the values of the records that version 2 read, by partition and offset."""
    found: dict[Place, bytes | None] = {}
    offsets = [0] * PARTITIONS
    with gzip.open(DATA / "records.ndjson.gz", "rt", encoding="utf-8") as file:
        for each in map(json.loads, file):
            partition = each["partition"]
            value = each["value"]
            found[partition, offsets[partition]] = None if value is None else bytes.fromhex(value)
            offsets[partition] += 1
    return found


def test_an_upgraded_database_has_the_schema_of_a_new_one(
    run_script: RunScript, query: Query
) -> None:
    new = parts(query)
    load(query)
    assert parts(query) != new
    assert run_script("create_schema.py").returncode == 0
    assert parts(query) == new
    assert query("SELECT max(version) FROM schema_version") == [(SCHEMA_VERSION,)]


def test_the_numbered_steps_alone_make_all_tables_of_the_current_version(query: Query) -> None:
    """So the next step can rely on what the steps before it made."""
    new = parts(query)
    load(query)
    for step in range(3, SCHEMA_VERSION + 1):
        query((UPGRADES / f"{step:03}.sql").read_text())
    assert tables_of(parts(query)) == tables_of(new)


def tables_of(schema: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Return the parts that store data: tables, their columns, constraints and indexes."""
    views = {name for (kind, name), definition in schema.items() if definition == "v"}
    return {
        (kind, name): definition
        for (kind, name), definition in schema.items()
        if kind in STORING and name.split(".")[0] not in views
    }


@pytest.mark.usefixtures("version_2")
def test_an_upgrade_keeps_all_rows_and_rewrites_no_table(
    run_script: RunScript, query: Query
) -> None:
    query(ADD_REFERRERS)
    before = query(EVENTS), query(SESSIONS), sorted(query(REJECTED))
    files = set(query(FILES))
    for _ in range(2):
        result = run_script("create_schema.py")
        assert result.returncode == 0, result.stderr
    assert (query(EVENTS), query(SESSIONS), sorted(query(REJECTED))) == before
    assert files <= set(query(FILES))
    assert query(CHANGED_SESSIONS) == [(True, True, True)]
    verified = run_script("summary.py", "--verify")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.usefixtures("version_2")
def test_a_consumer_before_the_upgrade_asks_for_create_schema(run_script: RunScript) -> None:
    result = run_script("consumer.py", "--drain")
    assert result.returncode == 1
    assert "create_schema.py" in result.stderr


@pytest.mark.usefixtures("version_2")
def test_sessions_that_show_more_than_256_kib_have_to_be_rebuilt_after_the_upgrade(
    run_script: RunScript, query: Query
) -> None:
    query(MAKE_A_LARGE_ARRAY)
    assert run_script("create_schema.py").returncode == 0
    refused = run_script("consumer.py", "--drain")
    assert refused.returncode == 1
    assert "create_schema.py --rebuild-sessions" in refused.stderr
    rebuilt = run_script("create_schema.py", "--rebuild-sessions")
    assert "1 were replaced or deleted, 1 were written" in rebuilt.stdout
    assert run_script("consumer.py", "--drain").returncode == 0


@pytest.fixture
def topic_of_version_2(
    environment: dict[str, str], admin: KafkaAdminClient, run_script: RunScript, query: Query
) -> Iterator[str]:
    """The records that version 2 read, in a topic of the same name; its id."""
    admin.create_topics({TOPIC: {"num_partitions": PARTITIONS}})
    try:
        eventually(lambda: len(admin.describe_topics([TOPIC])[0]["partitions"]) == PARTITIONS)
        assert run_script("consumer.py", "--drain", KAFKA_TOPIC=TOPIC).returncode == 0
        ((topic_id,),) = query("SELECT DISTINCT topic_id FROM stream_positions")
        for partition in range(PARTITIONS):
            values = [value for (owner, _), value in records().items() if owner == partition]
            send({**environment, "KAFKA_TOPIC": TOPIC}, values, partition)
        yield topic_id
    finally:
        admin.delete_topics([TOPIC])


def test_records_read_again_after_the_upgrade_have_one_outcome_each(
    environment: dict[str, str],
    topic_of_version_2: str,
    run_script: RunScript,
    query: Query,
) -> None:
    load(query)
    query(SET_TOPIC_ID, (topic_of_version_2,))
    query(SET_REJECTED_TOPIC_ID, (topic_of_version_2,))
    rows, rejected = rows_by_key(query), {row[:2]: row[2] for row in query(REJECTED)}
    for command in (
        ("create_schema.py",),
        ("clickstream", "positions", "reset", "--to", "earliest"),
        ("consumer.py", "--drain"),
    ):
        result = run_script(*command, KAFKA_TOPIC=TOPIC, KAFKA_GROUP_ID="version-2")
        assert result.returncode == 0, result.stderr

    after, rejected_now = rows_by_key(query), {row[:2]: row[2] for row in query(REJECTED)}
    assert rows.items() <= after.items()
    check_new_rows(rows, rejected, after, rejected_now)
    check_rejected(rows, rejected, rejected_now)
    counters = oracle.check(environment)
    assert counters["records"] == 2 * len(records())
    retried = run_script("clickstream", "rejected", "retry")
    assert retried.stdout.startswith("Tried again: 0 new events, 0 duplicates")


def rows_by_key(query: Query) -> dict[Any, Any]:
    """Return the stored events: visitor and content by time and id."""
    return {(row[0], row[1]): row[2:7] for row in query(EVENTS)}


def event_of(place: Place) -> Event | InvalidEventError:
    """Return what a record is today."""
    latest = datetime.now(UTC) + timedelta(hours=1)
    try:
        return parse(records()[place], origin=(TOPIC, *place), latest=latest)
    except InvalidEventError as error:
        return error


def check_new_rows(rows: Any, rejected: Any, after: Any, rejected_now: Any) -> None:
    """Check that the new rows are the old rejected records that are events today, once each."""
    today = {place: event_of(place) for place in rejected}
    valid = {place: event for place, event in today.items() if isinstance(event, Event)}
    in_conflict = {place for place, reason in rejected.items() if reason == "event_id_conflict"}
    restored = {place: event for place, event in valid.items() if place not in in_conflict}
    assert len(restored) > 20
    assert after.keys() - rows.keys() == {event.key for event in restored.values()}
    assert not restored.keys() & rejected_now.keys()
    assert rejected.keys() - restored.keys() <= rejected_now.keys()


def check_rejected(rows: Any, rejected: Any, rejected_now: Any) -> None:
    """Check that no record of a stored row is rejected, also if it is out of range today."""
    for place in records().keys() - rejected.keys():
        today = event_of(place)
        event = today if isinstance(today, Event) else today.event
        assert event is not None
        is_stored = rows[event.key] == identity(event)
        assert is_stored == (place not in rejected_now)
        assert is_stored or rejected_now[place] == "event_id_conflict"


@pytest.mark.usefixtures("version_2")
def test_a_retry_stores_records_that_version_2_rejected_and_that_are_events_now(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    rows, rejected = rows_by_key(query), {row[:2]: row[2] for row in query(REJECTED)}
    assert run_script("create_schema.py").returncode == 0
    retried = run_script("clickstream", "rejected", "retry")
    assert retried.returncode == 0, retried.stderr
    check_new_rows(rows, rejected, rows_by_key(query), {row[:2]: row[2] for row in query(REJECTED)})
    oracle.check(environment)
