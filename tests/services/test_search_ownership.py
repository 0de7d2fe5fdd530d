"""An index of another database or another program is changed only by an explicit take-over."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from opensearchpy import OpenSearch
from psycopg2 import OperationalError

from clickstream.clients.postgres import Connection, connect
from clickstream.indexer import checkpoint
from clickstream.indexer.ownership import OWNER_KEY, ForeignIndexError
from clickstream.settings import Settings
from tests.services import search_oracle
from tests.services.batches import Batches
from tests.services.databases import COPY_DATABASE, DROP_DATABASE, Query
from tests.services.indexers import (
    ManualClock,
    assert_indexed,
    catch_up,
    check_indexes,
    open_indexer,
)
from tests.services.records import event, send
from tests.services.scripts import RunScript, StartScript
from tests.services.test_search_indexer import RULE
from tests.services.waiting import eventually

TAKE_OVER = "python -m clickstream search rebuild --take-over"
SESSION_INDEX = "clickstream-sessions"
COUNT_EVENTS = "SELECT count(*) FROM clickstream_events"
THEIRS = {"mappings": {"properties": {"user_id": {"type": "keyword"}}}}


@pytest.fixture
def batches(transactions: Connection) -> Batches:
    return Batches(transactions, RULE)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def staging(template: str, maintenance: Callable[[str], None]) -> Iterator[str]:
    """The name of a second database with the schema."""
    name = f"staging_{uuid.uuid4().hex[:12]}"
    maintenance(COPY_DATABASE.format(name=name, template=template))
    yield name
    maintenance(DROP_DATABASE.format(name=name))


@pytest.fixture
def staging_connection(settings: Settings, staging: str) -> Iterator[Connection]:
    """A connection to the second database."""
    with closing(connect(replace(settings, postgres_database=staging), application="test")) as made:
        yield made


def everything(client: OpenSearch) -> dict[str, Any]:
    """Return every document and the UUID of every index, by name."""
    client.indices.refresh(index="*")
    hits = client.search(index="*", body={"size": 1000})["hits"]["hits"]
    documents = {f"{hit['_index']}/{hit['_id']}": hit["_source"] for hit in hits}
    indexes = client.indices.get_settings(index="*", params={"flat_settings": "true"})
    return {**documents, **{name: each["settings"]["index.uuid"] for name, each in indexes.items()}}


# == Indexes of another owner are not changed ===================================================


@pytest.mark.local_search
@pytest.mark.long
def test_a_consumer_of_another_database_leaves_the_index_as_it_is(
    searching: Settings,
    search: dict[str, str],
    batches: Batches,
    transactions: Connection,
    client: OpenSearch,
    environment: dict[str, str],
    staging: str,
    staging_connection: Connection,
    start_script: StartScript,
    run_script: RunScript,
) -> None:
    """It warns once, stores its events, and names the command that takes the index."""
    batches.store([[event("production", 0)]])
    with open_indexer(searching) as indexer:
        assert_indexed(indexer, transactions, client)
    before = everything(client)
    consumer = start_script("consumer.py", **search, POSTGRES_DATABASE=staging)
    consumer.wait_for_output(TAKE_OVER)
    send(environment, [event("staging", 0)])
    eventually(lambda: _count_events(staging_connection) == 1)
    drained = run_script("consumer.py", "--drain", **search, POSTGRES_DATABASE=staging)
    assert drained.returncode == 1
    assert drained.stderr.splitlines()[-1].startswith("error: nothing is indexed into OpenSearch")
    for action in ("rebuild", "verify"):
        refused = run_script("clickstream", "search", action, **search, POSTGRES_DATABASE=staging)
        assert refused.returncode == 1
        (sentence,) = refused.stderr.splitlines()
        assert f"its indexes belong to database {searching.postgres_database} of " in sentence
        assert TAKE_OVER in sentence
    assert everything(client) == before
    assert consumer.is_running
    assert consumer.output.count("WARNING") == 1


def _count_events(connection: Connection) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(COUNT_EVENTS)
        ((number,),) = cursor.fetchall()
    return int(number)


@pytest.mark.parametrize("name", [SESSION_INDEX, "clickstream-events-2025.06"])
@pytest.mark.parametrize("when", ["first start", "while it runs"])
def test_an_index_of_another_program_is_not_changed(
    name: str,
    when: str,
    searching: Settings,
    batches: Batches,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
) -> None:
    with open_indexer(searching, clock=clock) as indexer:
        if when == "while it runs":
            catch_up(indexer, transactions)
        client.indices.delete(index=name, ignore_unavailable=True)
        client.indices.create(index=name, body=THEIRS)
        client.index(index=name, id="x", body={"user_id": "theirs"}, refresh=True)
        before = everything(client)
        batches.store([[event("a", 0)]])
        for _ in range(2):
            with pytest.raises(ForeignIndexError, match=f"its index {name} was not made by this"):
                eventually(indexer.turn)
            indexer.release()
    assert {name: value for name, value in everything(client).items() if name in before} == before


def test_a_state_of_a_later_version_of_the_program_is_left_as_it_is(
    searching: Settings, batches: Batches, client: OpenSearch
) -> None:
    client.index(index="clickstream-search-state", id="state", body={"unknown": 1}, refresh=True)
    before = everything(client)
    batches.store([[event("a", 0)]])
    with open_indexer(searching) as indexer, pytest.raises(ForeignIndexError, match="version"):
        indexer.turn()
    assert everything(client) == before


# == Taking over ================================================================================


def test_take_over_deletes_indexes_of_other_owners_and_indexes_this_database(
    searching: Settings,
    search: dict[str, str],
    batches: Batches,
    transactions: Connection,
    client: OpenSearch,
    staging: str,
    run_script: RunScript,
) -> None:
    """The database that had the index before then says so, and leaves it as it is."""
    client.indices.create(index="clickstream-events-2019.01", body=THEIRS)
    other = replace(searching, postgres_database=staging)
    taken = run_script("clickstream", "search", "rebuild", "--take-over", **search)
    assert (taken.returncode, taken.stdout) == (0, "The index was rebuilt from PostgreSQL.\n")
    batches.store([[event("a", 0)]])
    with open_indexer(searching) as indexer:
        assert_indexed(indexer, transactions, client)
        staged = {**search, "POSTGRES_DATABASE": staging}
        taken = run_script("clickstream", "search", "rebuild", "--take-over", **staged)
        assert taken.returncode == 0, taken.stderr
        assert search_oracle.indexed(client) == {}
        before = everything(client)
        batches.store([[event("a", 1)]])
        with pytest.raises(ForeignIndexError, match=f"belong to database {staging} of"):
            eventually(indexer.turn)
    assert everything(client) == before
    with open_indexer(other) as indexer:
        assert not indexer.turn()


# == Our own indexes are repaired ===============================================================


def test_indexes_of_an_earlier_version_belong_to_the_database_of_their_state(
    searching: Settings,
    batches: Batches,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """Their mappings do not name the database."""
    batches.store([[event("a", 0)]])
    with open_indexer(searching, clock=clock) as indexer:
        catch_up(indexer, transactions)
        for name in client.indices.get(index="clickstream-*"):
            client.indices.put_mapping(index=name, body={"_meta": {"version": 1}})
        batches.store([[event("a", 1)]])
        check_indexes(indexer, clock, transactions)
        query("DELETE FROM search_cursor")
        check_indexes(indexer, clock, transactions)
        search_oracle.check_documents(transactions, client)
    mapping = client.indices.get_mapping(index=SESSION_INDEX)[SESSION_INDEX]["mappings"]
    assert searching.postgres_database in mapping["_meta"][OWNER_KEY]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("DELETE FROM search_cursor", "PostgreSQL has no checkpoint of it, because of"),
        ("UPDATE search_cursor SET token = 'earlier'", "it belongs to another checkpoint, because"),
        (
            "UPDATE search_cursor SET horizon = '5', announced = '5'",
            "the database was restored to an earlier state",
        ),
    ],
)
def test_a_rebuild_after_a_failover_is_a_warning_with_its_reason(
    lost: str,
    reason: str,
    searching: Settings,
    batches: Batches,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The promoted standby lacks the last transactions."""
    batches.store([[event("a", 0)]])
    with open_indexer(searching, clock=clock) as indexer:
        catch_up(indexer, transactions)
        query(lost)
        caplog.clear()
        check_indexes(indexer, clock, transactions)
        search_oracle.check_documents(transactions, client)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"backfilling the search index: {reason}" in record.getMessage()


def test_documents_of_commits_that_postgresql_lost_do_not_remain(
    searching: Settings,
    batches: Batches,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The indexer died after it had sent them, and the promoted standby lacks these commits."""
    batches.store([[event("a", 0)]])
    with open_indexer(searching, clock=clock) as indexer:
        catch_up(indexer, transactions)
        ((before,),) = query("SELECT announced FROM search_cursor")
        batches.store([[event("lost", 0)]])
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "advance", _fail)
            with pytest.raises(OperationalError):
                catch_up(indexer, transactions)
        assert len(search_oracle.indexed(client)) == 4
        query("DELETE FROM clickstream_events WHERE user_id = 'lost'")
        query("DELETE FROM session_metrics WHERE user_id = 'lost'")
        query("DELETE FROM session_changes")
        query("UPDATE search_cursor SET announced = %s", (before,))
        indexer.release()
        check_indexes(indexer, clock, transactions)
        search_oracle.check_documents(transactions, client)


def _fail(*_: object) -> None:
    raise OperationalError("the connection is lost")


# == Several databases with a prefix each =======================================================


def test_databases_with_different_prefixes_share_one_opensearch(
    environment: dict[str, str],
    search: dict[str, str],
    staging: str,
    run_script: RunScript,
    client: OpenSearch,
) -> None:
    """Each has its own templates, indexes and documents, and is verified and rebuilt alone."""
    shops = [
        {**search, "OPENSEARCH_INDEX_PREFIX": "shop_1"},
        {**search, "OPENSEARCH_INDEX_PREFIX": "shop_2", "POSTGRES_DATABASE": staging},
    ]
    send(environment, [event("a", 0), event("b", 0, timestamp="2019-01-01T00:00:00Z")])
    for number, shop in enumerate(shops, 1):
        created = run_script("create_schema.py", **shop)
        assert f"Index templates shop_{number}-events and shop_{number}-sessions" in created.stdout
        drained = run_script("consumer.py", "--drain", **shop)
        assert drained.returncode == 0, drained.stderr
        doctor = run_script("clickstream", "doctor", **shop)
        assert doctor.returncode == 0, doctor.stdout
        assert f"shop_{number}-search-state" in doctor.stdout
    rebuilt = run_script("clickstream", "search", "rebuild", "--take-over", **shops[0])
    assert rebuilt.returncode == 0, rebuilt.stderr
    for shop in shops:
        verified = run_script("clickstream", "search", "verify", **shop)
        assert verified.stdout == "Verified 4 documents: OpenSearch matches PostgreSQL.\n"
    parts = ("events-2025.06", "events-older", "search-state", "sessions")
    expected = {f"shop_{number}-{part}" for number in (1, 2) for part in parts}
    assert set(client.indices.get(index="shop_*")) == expected
