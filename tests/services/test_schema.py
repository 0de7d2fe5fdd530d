"""create_schema.py: any number of times, several at once, and on what is there already."""

from collections.abc import Callable

import pytest
from kafka import KafkaAdminClient

from tests.services import oracle
from tests.services.databases import CREATE_DATABASE, DROP_DATABASE, Query
from tests.services.records import random_events, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript

TABLES = {
    "clickstream_events", "session_metrics", "rejected_events", "stream_positions",
    "session_changes", "search_cursor", "search_refused_documents", "session_rule",
    "schema_version",
}  # fmt: skip
VIEWS = {"events_with_session", "open_sessions", "conversion_funnel", "hourly_traffic"}

RELATIONS = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind::text = ANY (%s)
"""
TAKE_AWAY = """
    DROP VIEW hourly_traffic, open_sessions;
    DROP TABLE search_refused_documents;
    DROP INDEX session_metrics_open, rejected_events_reason;
"""


@pytest.fixture
def empty_database(database: str, maintenance: Callable[[str], None]) -> None:
    """The test's database as it is before any schema."""
    maintenance(DROP_DATABASE.format(name=database))
    maintenance(CREATE_DATABASE.format(name=database))


def relations(query: Query, *kinds: str) -> set[str]:
    """The names of tables ("r", "p"), views ("v") or indexes ("i")."""
    return {name for (name,) in query(RELATIONS, (list(kinds),))}


@pytest.mark.usefixtures("empty_database")
def test_an_empty_database_gets_tables_and_views_and_a_second_run_changes_nothing(
    run_script: RunScript, query: Query
) -> None:
    for _ in range(2):
        result = run_script("create_schema.py")
        assert result.returncode == 0, result.stderr
        assert relations(query, "r", "p") >= TABLES
        assert relations(query, "v") >= VIEWS


@pytest.mark.usefixtures("empty_database")
def test_several_at_once(start_script: StartScript, query: Query) -> None:
    scripts = [start_script("create_schema.py") for _ in range(4)]
    for script in scripts:
        assert script.wait() == 0, script.output
    assert relations(query, "r", "p") >= TABLES


def test_what_is_missing_comes_back_and_what_is_stored_stays(
    environment: dict[str, str], run_script: RunScript, start_script: StartScript, query: Query
) -> None:
    """A consumer may run meanwhile."""
    events = random_events(200, visitors=10, seed=1)
    consumer = start_script("consumer.py")
    send_by_visitor(environment, events[:100])
    wait_until_read(query, 100)
    indexes = relations(query, "i")
    query(TAKE_AWAY)
    result = run_script("create_schema.py")
    assert result.returncode == 0, result.stderr
    assert relations(query, "v") >= VIEWS
    assert relations(query, "i") == indexes
    send_by_visitor(environment, events[100:])
    wait_until_read(query, len(events))
    assert consumer.is_running
    oracle.check(environment)


def test_tables_of_a_newer_version_are_left_alone(run_script: RunScript, query: Query) -> None:
    query("INSERT INTO schema_version (version) VALUES (999)")
    result = run_script("create_schema.py")
    assert result.returncode == 1
    assert "version 999" in result.stderr
    assert "Traceback" not in result.stderr


def test_drop_asks_first_and_then_leaves_nothing(run_script: RunScript, query: Query) -> None:
    asked = run_script("create_schema.py", "--drop")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert relations(query, "r", "p") >= TABLES
    assert run_script("create_schema.py", "--drop", "--yes").returncode == 0
    assert not relations(query, "r", "p", "v") & (TABLES | VIEWS)
    assert run_script("create_schema.py").returncode == 0
    assert relations(query, "r", "p") >= TABLES


def test_the_topic_is_created_where_it_is_missing(
    environment: dict[str, str], run_script: RunScript, admin: KafkaAdminClient
) -> None:
    """With the number of partitions that was asked for; one that is there stays as it is."""
    name = f"{environment['KAFKA_TOPIC']}-new"
    try:
        created = run_script("create_schema.py", KAFKA_TOPIC=name, KAFKA_TOPIC_PARTITIONS="5")
        again = run_script("create_schema.py", KAFKA_TOPIC=name, KAFKA_TOPIC_PARTITIONS="7")
        assert (created.returncode, again.returncode) == (0, 0)
        assert "5 partitions" in created.stdout
        assert "5 partitions" in again.stdout
    finally:
        admin.delete_topics([name])


def test_without_a_server_it_says_what_to_do(run_script: RunScript) -> None:
    result = run_script("create_schema.py", POSTGRES_PORT="1", POSTGRES_HOST="127.0.0.1")
    assert result.returncode == 1
    assert result.stderr.startswith("error: cannot connect to PostgreSQL at 127.0.0.1:1")
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("empty_database")
def test_a_consumer_without_tables_names_the_cure(run_script: RunScript) -> None:
    result = run_script("consumer.py", "--drain")
    assert result.returncode == 1
    assert "python create_schema.py" in result.stderr
    assert "Traceback" not in result.stderr
