"""create_schema.py: run several times, at the same time, and on an existing database."""

from collections.abc import Callable

import pytest
from kafka import KafkaAdminClient

from clickstream.storage.schema import TABLES, VIEWS
from tests.services import oracle
from tests.services.databases import CREATE_DATABASE, DROP_DATABASE, Query
from tests.services.records import random_events, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript

RELATIONS = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind::text = ANY (%s)
"""
DROP_SOME = """
    DROP VIEW hourly_traffic, open_sessions;
    DROP TABLE search_refused_documents;
    DROP INDEX session_metrics_open, rejected_events_reason;
"""


@pytest.fixture
def empty_database(database: str, maintenance: Callable[[str], None]) -> None:
    """Make the test's database one without tables."""
    maintenance(DROP_DATABASE.format(name=database))
    maintenance(CREATE_DATABASE.format(name=database))


def tables(query: Query) -> set[str]:
    return relations(query, "r", "p")


def views(query: Query) -> set[str]:
    return relations(query, "v")


def relations(query: Query, *kinds: str) -> set[str]:
    """Return the names of relations of these kinds, such as "r" (tables) or "i" (indexes)."""
    return {name for (name,) in query(RELATIONS, (list(kinds),))}


@pytest.mark.usefixtures("empty_database")
def test_an_empty_database_gets_tables_and_views_and_a_second_run_changes_nothing(
    run_script: RunScript, query: Query
) -> None:
    for _ in range(2):
        result = run_script("create_schema.py")
        assert result.returncode == 0, result.stderr
        assert tables(query) == set(TABLES)
        assert views(query) == set(VIEWS)


@pytest.mark.usefixtures("empty_database")
def test_four_runs_at_the_same_time_all_succeed(start_script: StartScript, query: Query) -> None:
    scripts = [start_script("create_schema.py") for _ in range(4)]
    for script in scripts:
        assert script.wait() == 0, script.output
    assert tables(query) == set(TABLES)


def test_missing_parts_are_created_and_stored_events_stay_while_a_consumer_runs(
    environment: dict[str, str], run_script: RunScript, start_script: StartScript, query: Query
) -> None:
    events = random_events(200, visitors=10, seed=1)
    consumer = start_script("consumer.py")
    send_by_visitor(environment, events[:100])
    wait_until_read(query, 100)
    indexes = relations(query, "i")
    query(DROP_SOME)
    result = run_script("create_schema.py")
    assert result.returncode == 0, result.stderr
    assert tables(query) == set(TABLES)
    assert views(query) == set(VIEWS)
    assert relations(query, "i") == indexes
    send_by_visitor(environment, events[100:])
    wait_until_read(query, len(events))
    assert consumer.is_running
    oracle.check(environment)


def test_tables_of_a_newer_version_are_refused(run_script: RunScript, query: Query) -> None:
    query("INSERT INTO schema_version (version) VALUES (999)")
    result = run_script("create_schema.py")
    assert result.returncode == 1
    assert "version 999" in result.stderr
    assert "Traceback" not in result.stderr


def test_drop_needs_yes_and_then_drops_every_table_and_view(
    run_script: RunScript, query: Query
) -> None:
    refused = run_script("create_schema.py", "--drop")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert tables(query) == set(TABLES)
    assert run_script("create_schema.py", "--drop", "--yes").returncode == 0
    assert tables(query) == views(query) == set()
    assert run_script("create_schema.py").returncode == 0
    assert tables(query) == set(TABLES)


def test_a_missing_topic_is_created_with_the_configured_partitions_and_then_kept(
    environment: dict[str, str], run_script: RunScript, admin: KafkaAdminClient
) -> None:
    name = f"{environment['KAFKA_TOPIC']}-new"
    try:
        created = run_script("create_schema.py", KAFKA_TOPIC=name, KAFKA_TOPIC_PARTITIONS="5")
        again = run_script("create_schema.py", KAFKA_TOPIC=name, KAFKA_TOPIC_PARTITIONS="7")
        assert (created.returncode, again.returncode) == (0, 0)
        assert "5 partitions" in created.stdout
        assert "5 partitions" in again.stdout
    finally:
        admin.delete_topics([name])


def test_an_unreachable_server_is_named_in_one_sentence(run_script: RunScript) -> None:
    result = run_script("create_schema.py", POSTGRES_PORT="1", POSTGRES_HOST="127.0.0.1")
    assert result.returncode == 1
    assert result.stderr.startswith("error: cannot connect to PostgreSQL at 127.0.0.1:1")
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("empty_database")
def test_a_consumer_without_tables_asks_for_create_schema(run_script: RunScript) -> None:
    result = run_script("consumer.py", "--drain")
    assert result.returncode == 1
    assert "python create_schema.py" in result.stderr
    assert "Traceback" not in result.stderr
