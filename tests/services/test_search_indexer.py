"""The index matches PostgreSQL after single histories, indexed turn by turn."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection, connect
from clickstream.indexer.background import BackgroundIndexer
from clickstream.indexer.indexer import CHECK_SECONDS, Indexer
from clickstream.model.parse import parse
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import event_table
from tests.services import search_oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.indexers import ManualClock, advance, assert_indexed, catch_up, open_indexer
from tests.services.records import event, value_of
from tests.services.waiting import eventually

RULE = Rule(timedelta(seconds=30), frozenset(), frozenset({"logout"}))
SESSION_IDS = "SELECT session_id FROM session_metrics ORDER BY first_event_timestamp"
CLOSED_AT = "SELECT closed_at FROM session_metrics ORDER BY first_event_timestamp"
COUNT_CHANGES = "SELECT count(*) FROM session_changes"
AGE_CHECKPOINT = "UPDATE search_cursor SET moved_at = now() - %s::interval"
IS_CHECKPOINT_FRESH = "SELECT now() - moved_at < interval '1 hour' FROM search_cursor"

NOTHING_OLDER_IS_OPEN = """
    SELECT bool_and(xid < pg_snapshot_xmin(pg_current_snapshot())) FROM clickstream_events
"""


@pytest.fixture
def batches(transactions: Connection) -> Batches:
    return Batches(transactions, RULE)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def indexer(searching: Settings, clock: ManualClock) -> Iterator[Indexer]:
    with open_indexer(searching, clock=clock) as opened:
        yield opened


def test_late_events_extend_merge_and_split_indexed_sessions(
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """Documents of removed sessions are deleted, and those of their events are updated."""
    for late, sessions in (
        ([event("a", 0), event("a", 60), event("b", 0)], 3),
        ([event("a", 30)], 2),
        ([event("a", -20)], 2),
        ([event("a", 30, "logout")], 3),
    ):
        batches.store([late])
        assert_indexed(indexer, transactions, client)
        assert len(query(SESSION_IDS)) == sessions
    assert query(COUNT_CHANGES) == [(0,)], "changes that are indexed are deleted"


def test_a_closed_session_stays_as_it_is_when_its_visitor_comes_back(
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """The visitor is in the session cache, and the next session begins right after the logout."""
    batches.store([[event("a", 0), event("a", 1, "logout")]])
    assert_indexed(indexer, transactions, client)
    ((closed_at,),) = query(CLOSED_AT)
    batches.store([[event("a", 2)]])
    assert_indexed(indexer, transactions, client)
    assert query(CLOSED_AT) == [(closed_at,), (None,)]


@pytest.mark.parametrize("indexed_meanwhile", [True, False])
def test_a_session_that_was_removed_and_exists_again_is_indexed(
    indexed_meanwhile: bool,
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    batches.store([[event("a", 10)]])
    catch_up(indexer, transactions)
    ((first,),) = query(SESSION_IDS)
    batches.store([[event("a", 0)]])
    assert (first,) not in query(SESSION_IDS)
    if indexed_meanwhile:
        assert_indexed(indexer, transactions, client)
    batches.store([[event("a", 5, "logout")]])
    assert (first,) in query(SESSION_IDS)
    assert_indexed(indexer, transactions, client)


def test_events_are_in_the_index_of_their_month(
    batches: Batches, indexer: Indexer, transactions: Connection, client: OpenSearch
) -> None:
    """One event id at several times is several documents; times before 2020 share an index."""
    times = (
        "2025-06-02T10:00:00Z", "2025-06-02T10:00:00.000001Z", "2025-05-31T23:59:59.999999Z",
        "2020-01-01T00:00:00Z", "2019-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00Z",
    )  # fmt: skip
    same = event("a", 0)
    batches.store([[{**same, "timestamp": time} for time in times]])
    assert_indexed(indexer, transactions, client)
    found = [index for index, _ in search_oracle.indexed(client) if "events" in index]
    assert sorted(found) == sorted(
        [
            *["clickstream-events-2025.06"] * 2,
            "clickstream-events-2025.05",
            "clickstream-events-2020.01",
            *["clickstream-events-older"] * 3,
        ]
    )


def test_texts_that_json_must_escape_are_indexed_unchanged(
    batches: Batches, indexer: Indexer, transactions: Connection, client: OpenSearch
) -> None:
    odd = '"\\\n\r\t\x01\u2028%s%(x)s\U0001f600</script>'
    fields: dict[str, Any] = {"page_url": odd, "search_query": odd, odd: {odd: [None, 2**70, 1e-9]}}
    batches.store([[event(odd, 0, odd, **fields), event(odd, 1, "search", **fields)]])
    assert_indexed(indexer, transactions, client)


def test_repaired_fields_are_indexed(
    batches: Batches, indexer: Indexer, transactions: Connection, client: OpenSearch
) -> None:
    batches.store([[event("a", 0, price="x", extra="\0"), event("a", 1)], []])
    assert_indexed(indexer, transactions, client)
    client.indices.refresh()
    repaired = {"query": {"term": {"repaired": "price"}}}
    found = client.search(index="clickstream-events-*", body=repaired)["hits"]["hits"]
    assert [hit["_source"]["repaired"] for hit in found] == [["price", "properties"]]


def test_documents_that_are_too_large_to_read_together_are_indexed(
    batches: Batches, indexer: Indexer, transactions: Connection, client: OpenSearch
) -> None:
    """An event with numbers that PostgreSQL writes in full, and a session of long texts."""
    numbers = event("a", 0, numbers=[1e300] * 2_000)
    pages = [event("a", n, page_url=f"/{n:02}" + "€" * 8_000) for n in range(1, 20)]
    batches.store([[numbers, *pages, event("a", 21)]])
    assert_indexed(indexer, transactions, client)


def test_transactions_that_commit_in_the_opposite_order_of_their_ids_are_indexed(
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    settings: Settings,
    client: OpenSearch,
) -> None:
    """The checkpoint never passes a transaction that is still running, so no row is skipped."""
    catch_up(indexer, transactions)
    late = event("late", 0, event_id=str(UUID(int=7)))
    with closing(connect(settings, application="test")) as slow:
        with slow.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")
        batches.store([[event("early", 0)]])
        advance(indexer)
        _store_without_commit(slow, batches, late)
        advance(indexer)
        slow.commit()
    assert_indexed(indexer, transactions, client)


def _store_without_commit(connection: Connection, batches: Batches, content: Any) -> None:
    parsed = parse(value_of(content), origin=("a topic", 0, 0), latest=datetime.now(UTC))
    with connection.cursor() as cursor:
        inserted = event_table.insert(cursor, [parsed])
        batches.cache.apply(cursor, inserted.new, others_write=False)


def test_an_indexer_that_is_stopped_while_the_consumer_is_behind_indexes_what_is_stored(
    batches: Batches,
    searching: Settings,
    transactions: Connection,
    query: Query,
    client: OpenSearch,
) -> None:
    """The stop comes in the pause after the first turn, which only begins the backfill.

    An indexer leaves what transactions that are still open, also of other tests, could precede.
    """
    stops: list[Thread] = []

    def is_consumer_behind() -> bool:
        if not stops:
            stops.append(Thread(target=background.stop, args=(30,)))
            stops[0].start()
        return True

    batches.store([[event("a", 0)]])
    eventually(lambda: query(NOTHING_OLDER_IS_OPEN) == [(True,)])
    background = BackgroundIndexer(searching, Random(1), is_consumer_behind)
    background.start()
    eventually(lambda: stops and not stops[0].is_alive())
    search_oracle.check_documents(transactions, client)


def test_a_checkpoint_that_nobody_moved_for_days_expires(
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """With search turned off, changes do not pile up; turned on again, the index is backfilled."""
    batches.store([[event("a", 10)]])
    catch_up(indexer, transactions)
    query(AGE_CHECKPOINT, ("2 days",))
    batches.store([[event("a", 0)]])
    assert query(COUNT_CHANGES) == [(1,)]
    query(AGE_CHECKPOINT, ("8 days",))
    batches.store([[event("a", -10)]])
    assert query(COUNT_CHANGES) == [(1,)]
    assert_indexed(indexer, transactions, client)
    assert query(IS_CHECKPOINT_FRESH) == [(True,)]


def test_a_checkpoint_does_not_expire_while_nothing_changes(
    batches: Batches,
    indexer: Indexer,
    clock: ManualClock,
    transactions: Connection,
    query: Query,
) -> None:
    batches.store([[event("a", 10)]])
    catch_up(indexer, transactions)
    query(AGE_CHECKPOINT, ("2 days",))
    clock.seconds += CHECK_SECONDS
    indexer.turn()
    assert query(IS_CHECKPOINT_FRESH) == [(True,)]
