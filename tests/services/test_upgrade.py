"""Upgrading a database of an earlier version: nothing is lost, stored twice or rejected as well."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from kafka import KafkaAdminClient

from clickstream.model.events import Event, InvalidEventError
from clickstream.model.parse import parse
from clickstream.settings import Settings
from clickstream.storage.event_table import identity
from clickstream.storage.schema import UPGRADES, apply_tables
from clickstream.storage.schema_version import SCHEMA_VERSION
from clickstream.storage.stored_rule import FENCE_CONSUMERS
from tests.services import oracle
from tests.services.catalogue import STORING, parts
from tests.services.databases import Query
from tests.services.old_databases import PARTITIONS, VERSIONS, Place, load, records, topic
from tests.services.records import event, send, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

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
# With a checkpoint, the upgrade logs what the search indexer has to index again.
SET_CHECKPOINT = """
    INSERT INTO search_cursor (horizon, token, system_identifier) VALUES ('1', 'token', '1')
"""
CHANGED_SESSIONS = """
    SELECT count(entry_referrer), (SELECT count(*) FROM session_changes) FROM session_metrics
"""
# Sessions of each version's data with a referrer at their entry.
ENTRY_REFERRERS = {1: 7, 2: 0, 3: 8, 4: 8, 5: 6}
LAST_SESSION = """
    SELECT user_id, last_event_timestamp, total_events FROM session_metrics
    ORDER BY last_event_timestamp DESC LIMIT 1
"""
SET_TOPIC_ID = "UPDATE stream_positions SET topic_id = %s"
SET_REJECTED_TOPIC_ID = "UPDATE rejected_events SET topic_id = %s"
POSITIONS = "SELECT partition, position, epoch FROM stream_positions ORDER BY partition"
# The least number of rejected records of each version that are new events today.
RESTORED = {1: 0, 2: 20, 3: 0, 4: 0, 5: 0}
INSERT_VERSION = "INSERT INTO schema_version (version) VALUES (%s)"


def tables_of(schema: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Return the parts that store data: tables, their columns and constraints."""
    views = {name for (kind, name), definition in schema.items() if definition == "v"}
    return {
        (kind, name): definition
        for (kind, name), definition in schema.items()
        if kind in STORING and name.split(".")[0] not in views
    }


def test_the_numbered_steps_alone_make_all_tables_of_the_current_version(query: Query) -> None:
    """A step can rely on what the steps before it made."""
    new = parts(query)
    load(query, 1)
    for step in range(2, SCHEMA_VERSION + 1):
        query((UPGRADES / f"{step:03}.sql").read_text())
    assert tables_of(parts(query)) == tables_of(new)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgrade_gives_the_schema_of_a_new_database_keeps_all_rows_and_rewrites_no_table(
    version: int, run_script: RunScript, query: Query
) -> None:
    new = parts(query)
    load(query, version)
    query(SET_CHECKPOINT)
    before = query(EVENTS), query(SESSIONS), sorted(query(REJECTED))
    files = set(query(FILES))
    result = run_script("create_schema.py")
    assert result.returncode == 0, result.stderr
    assert f"from schema version {version} to {SCHEMA_VERSION}" in result.stderr
    assert parts(query) == new
    assert query("SELECT max(version) FROM schema_version") == [(SCHEMA_VERSION,)]
    assert (query(EVENTS), query(SESSIONS), sorted(query(REJECTED))) == before
    assert files <= set(query(FILES))
    referrers = ENTRY_REFERRERS[version]
    assert query(CHANGED_SESSIONS) == [(referrers, referrers if version < 4 else 0)]
    verified = run_script("summary.py", "--verify")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize(
    ("version", "command"),
    [
        (1, ("consumer.py", "--drain")),
        (SCHEMA_VERSION - 1, ("consumer.py", "--drain")),
        (SCHEMA_VERSION - 1, ("clickstream", "rejected", "retry")),
        (SCHEMA_VERSION - 1, ("clickstream", "retain", "--days", "3")),
    ],
)
def test_a_program_before_the_upgrade_stores_nothing_and_asks_for_create_schema(
    version: int, command: tuple[str, ...], run_script: RunScript, query: Query
) -> None:
    load(query, version)
    positions = query(POSITIONS)
    result = run_script(*command)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        f"error: the tables are of schema version {version} and this program needs version "
        f"{SCHEMA_VERSION}; upgrade them with: python "
    )
    assert "Traceback" not in result.stderr
    assert query(POSITIONS) == positions


def test_a_consumer_that_runs_during_an_upgrade_stores_nothing_after_it(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    consumer = start_script("consumer.py")
    send(environment, [event("before", 0)])
    wait_until_read(query, 1)
    # As create_schema.py of a later version does, in one transaction.
    query(f"{FENCE_CONSUMERS}; {INSERT_VERSION}", (SCHEMA_VERSION + 1,))
    send(environment, [event("after", 0)])
    assert consumer.wait() == 1
    assert f"schema version {SCHEMA_VERSION + 1}" in consumer.output
    assert "use the newer version of the program" in consumer.output
    assert query("SELECT user_id FROM clickstream_events") == [("before",)]


def test_sessions_that_show_more_than_256_kib_have_to_be_rebuilt_after_the_upgrade(
    run_script: RunScript, query: Query
) -> None:
    load(query, 2)
    query(MAKE_A_LARGE_ARRAY)
    assert run_script("create_schema.py").returncode == 0
    refused = run_script("consumer.py", "--drain")
    assert refused.returncode == 1
    assert "create_schema.py --rebuild-sessions" in refused.stderr
    rebuilt = run_script("create_schema.py", "--rebuild-sessions")
    assert "1 were replaced or deleted, 1 were written" in rebuilt.stdout
    assert run_script("consumer.py", "--drain").returncode == 0


@contextmanager
def topic_of(
    version: int, environment: dict[str, str], admin: KafkaAdminClient, query: Query
) -> Iterator[dict[str, str]]:
    """A topic with the records that a version read; the settings of its consumers.

    The positions and rejected records of the loaded database then belong to this topic.
    """
    name = topic(version)
    given = {"KAFKA_TOPIC": name, "KAFKA_GROUP_ID": name}
    admin.create_topics({name: {"num_partitions": PARTITIONS}})
    try:
        described = partial(admin.describe_topics, [name])
        eventually(lambda: len(described()[0]["partitions"]) == PARTITIONS)
        for partition in range(PARTITIONS):
            values = [value for (owner, _), value in records(version).items() if owner == partition]
            send({**environment, **given}, values, partition)
        topic_id = str(described()[0]["topic_id"])
        query(SET_TOPIC_ID, (topic_id,))
        query(SET_REJECTED_TOPIC_ID, (topic_id,))
        yield given
    finally:
        admin.delete_topics([name])


@pytest.mark.parametrize("version", VERSIONS)
def test_records_read_after_the_upgrade_and_again_have_one_outcome_each(
    version: int,
    environment: dict[str, str],
    admin: KafkaAdminClient,
    run_script: RunScript,
    query: Query,
) -> None:
    load(query, version)
    sessions, rows, rejected = query(LAST_SESSION), rows_by_key(query), rejected_by_place(query)
    with topic_of(version, environment, admin, query) as given:

        def run(*command: str) -> str:
            result = run_script(*command, **given)
            assert result.returncode == 0, result.stderr
            return result.stdout

        apply_tables(Settings.from_mapping(environment))
        ((visitor, last_time, total),) = sessions
        nine_minutes_later = last_time + timedelta(minutes=9)
        later = [event(visitor, 0, timestamp=str(nine_minutes_later)), event("new", 0)]
        send({**environment, **given}, later)
        run("consumer.py", "--drain")
        assert query(LAST_SESSION) == [(visitor, nine_minutes_later, total + 1)]
        continued = rows_by_key(query)
        assert rows.items() <= continued.items()
        assert len(continued) == len(rows) + len(later)
        assert rejected_by_place(query) == rejected

        run("clickstream", "positions", "reset", "--to", "earliest")
        run("consumer.py", "--drain")
    after, rejected_now = rows_by_key(query), rejected_by_place(query)
    assert continued.items() <= after.items()
    check_new_rows(version, continued, rejected, after, rejected_now)
    check_rejected(version, rows, rejected, rejected_now)
    counters = oracle.check(environment)
    assert counters["records"] == 2 * (len(records(version)) + len(later))
    assert run("clickstream", "rejected", "retry").startswith("Tried again: 0 new events, 0 dup")


def rows_by_key(query: Query) -> dict[Any, Any]:
    """Return the stored events: visitor and content by time and id."""
    return {(row[0], row[1]): row[2:7] for row in query(EVENTS)}


def rejected_by_place(query: Query) -> dict[Place, str]:
    """Return the reason of each rejected record by partition and offset."""
    return {(partition, offset): reason for partition, offset, reason in query(REJECTED)}


def events_today(version: int) -> Callable[[Place], Event | InvalidEventError]:
    """Return a function that returns what a record of a version is today."""
    values = records(version)
    latest = datetime.now(UTC) + timedelta(hours=1)

    def event_of(place: Place) -> Event | InvalidEventError:
        try:
            return parse(values[place], origin=(topic(version), *place), latest=latest)
        except InvalidEventError as error:
            return error

    return event_of


def check_new_rows(version: int, rows: Any, rejected: Any, after: Any, rejected_now: Any) -> None:
    """Check that the new rows are the old rejected records that are events today, once each."""
    event_of = events_today(version)
    today = {place: event_of(place) for place in rejected}
    valid = {place: event for place, event in today.items() if isinstance(event, Event)}
    restored = {place: event for place, event in valid.items() if event.key not in rows}
    duplicates = {p for p, event in valid.items() if rows.get(event.key) == identity(event)}
    assert len(restored) >= RESTORED[version]
    assert after.keys() - rows.keys() == {event.key for event in restored.values()}
    assert rejected.keys() - restored.keys() - duplicates == rejected_now.keys() & rejected.keys()


def check_rejected(version: int, rows: Any, rejected: Any, rejected_now: Any) -> None:
    """Check that no record of a stored row is rejected, also if it is out of range today."""
    event_of = events_today(version)
    for place in records(version).keys() - rejected.keys():
        today = event_of(place)
        event = today if isinstance(today, Event) else today.event
        assert event is not None
        is_stored = rows[event.key] == identity(event)
        assert is_stored == (place not in rejected_now)
        assert is_stored or rejected_now[place] == "event_id_conflict"


def test_a_retry_stores_records_that_version_2_rejected_and_that_are_events_now(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    load(query, 2)
    rows, rejected = rows_by_key(query), rejected_by_place(query)
    assert run_script("create_schema.py").returncode == 0
    retried = run_script("clickstream", "rejected", "retry")
    assert retried.returncode == 0, retried.stderr
    check_new_rows(2, rows, rejected, rows_by_key(query), rejected_by_place(query))
    oracle.check(environment)
