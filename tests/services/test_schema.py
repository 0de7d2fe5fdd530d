"""create_schema.py: run several times, at the same time, and on an existing database."""

from collections.abc import Callable

import pytest
from kafka import KafkaAdminClient

from clickstream.clients.postgres import Connection
from clickstream.errors import UserError
from clickstream.indexer.leadership import TRY_ADVISORY_LOCK
from clickstream.settings import Settings
from clickstream.storage import schema
from clickstream.storage.schema import TABLES, VIEWS
from clickstream.storage.table_indexes import TRY_BUILD_LOCK
from tests.services import oracle
from tests.services.databases import CREATE_DATABASE, DROP_DATABASE, Query
from tests.services.records import random_events, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually

RELATIONS = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind::text = ANY (%s)
"""
IS_SCHEMA_WAITING = """
    SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                   WHERE application_name = 'clickstream schema' AND NOT granted
                     AND datname = current_database())
"""
LATIN1 = "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
INVALID_INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
END_SCHEMA = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'clickstream schema' AND datname = current_database()
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


def test_an_index_is_built_while_others_write_and_again_after_an_interrupted_build(
    start_script: StartScript, run_script: RunScript, query: Query, transactions: Connection
) -> None:
    query("DROP INDEX session_metrics_start")
    with transactions, transactions.cursor() as cursor:
        cursor.execute("DELETE FROM session_metrics")
        interrupted = start_script("create_schema.py")
        eventually(lambda: query(IS_SCHEMA_WAITING) == [(True,)])
        query("SET lock_timeout = '60s'; DELETE FROM session_metrics")
        query(END_SCHEMA)
        assert interrupted.wait() == 1
        assert query(INVALID_INDEXES) == [("session_metrics_start",)]
    result = run_script("create_schema.py")
    assert result.returncode == 0, result.stderr
    assert "session_metrics_start" in relations(query, "i")
    assert query(INVALID_INDEXES) == []


def test_it_does_not_wait_for_another_process_that_builds_the_indexes(
    settings: Settings, query: Query, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    query("DROP INDEX session_metrics_start")
    with connection.cursor() as cursor:
        cursor.execute(TRY_BUILD_LOCK)
    schema.apply_tables(settings)
    assert "another process is building the missing indexes" in caplog.text
    assert "session_metrics_start" not in relations(query, "i")


def test_it_builds_missing_indexes_while_a_search_indexer_runs(
    settings: Settings, query: Query, connection: Connection
) -> None:
    """The indexer holds the lock of its leadership all the time."""
    query("DROP INDEX session_metrics_start")
    with connection.cursor() as cursor:
        cursor.execute(TRY_ADVISORY_LOCK)
    schema.apply_tables(settings)
    assert "session_metrics_start" in relations(query, "i")


def test_it_does_not_deadlock_with_a_transaction_that_locks_the_tables_in_another_order(
    start_script: StartScript, query: Query, transactions: Connection
) -> None:
    """The indexer locks them so when it advances its checkpoint."""
    query("DROP VIEW hourly_traffic")
    with transactions, transactions.cursor() as cursor:
        cursor.execute("UPDATE search_cursor SET moved_at = now()")
        script = start_script("create_schema.py")
        eventually(lambda: query(IS_SCHEMA_WAITING) == [(True,)])
        cursor.execute("DELETE FROM session_changes")
    assert script.wait() == 0, script.output
    assert views(query) == set(VIEWS)


def test_it_waits_for_nobody_if_everything_is_up_to_date(
    run_script: RunScript, query: Query, transactions: Connection
) -> None:
    """Even if a transaction has all tables open."""
    with transactions, transactions.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(TABLES)} IN ROW EXCLUSIVE MODE")
        result = run_script("create_schema.py")
        assert result.returncode == 0, result.stderr
        assert query(IS_SCHEMA_WAITING) == [(False,)]


def test_tables_that_are_in_use_all_the_time_are_an_error_after_a_while(
    settings: Settings, query: Query, transactions: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    query("DROP VIEW hourly_traffic")
    monkeypatch.setattr(schema, "LOCK_PATIENCE_SECONDS", 1.0)
    with transactions, transactions.cursor() as cursor:
        cursor.execute("SELECT FROM session_metrics")
        with pytest.raises(UserError, match="the tables have been in use for 1 s"):
            schema.apply_tables(settings)
        with pytest.raises(UserError, match="the tables have been in use for 1 s"):
            schema.drop(settings)
    schema.apply_tables(settings)
    assert views(query) == set(VIEWS)


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
    assert "create_schema.py" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_that_cannot_hold_every_text_is_refused(
    database: str, maintenance: Callable[[str], None], run_script: RunScript
) -> None:
    maintenance(DROP_DATABASE.format(name=database))
    maintenance(f"{CREATE_DATABASE.format(name=database)} {LATIN1}")
    result = run_script("create_schema.py")
    assert result.returncode == 1
    assert "has encoding LATIN1" in result.stderr
    assert "ENCODING 'UTF8'" in result.stderr
