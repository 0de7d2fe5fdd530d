"""What the indexer makes of single histories, step by step."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection, connect
from clickstream.indexer.indexer import Indexer
from clickstream.model.events import parse
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import event_table
from tests.services import search_oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import event, value_of
from tests.services.search_oracle import advance, catch_up

RULE = Rule(timedelta(seconds=30), frozenset(), frozenset({"logout"}))
SESSIONS = "SELECT session_id FROM session_metrics ORDER BY first_event_timestamp"
CHANGES = "SELECT count(*) FROM session_changes"


@pytest.fixture
def batches(transactions: Connection) -> Batches:
    return Batches(transactions, RULE)


@pytest.fixture
def indexer(searching: Settings) -> Iterator[Indexer]:
    """One that works when it is told to."""
    with closing(Indexer(searching, Random(1))) as made:
        yield made


def check(connection: Connection, client: OpenSearch) -> None:
    search_oracle.check_documents(connection, client)


def test_late_events_extend_merge_and_split_sessions_already_indexed(
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """The documents of sessions that are gone go, those of their events follow."""
    for late, sessions in (
        ([event("a", 0), event("a", 60), event("b", 0)], 3),
        ([event("a", 30)], 2),
        ([event("a", -20)], 2),
        ([event("a", 30, "logout")], 3),
    ):
        batches.store([late])
        catch_up(indexer, transactions)
        assert len(query(SESSIONS)) == sessions
        check(transactions, client)
    assert query(CHANGES) == [(0,)], "what is indexed is pruned"


@pytest.mark.parametrize("indexed_meanwhile", [True, False])
def test_a_session_id_goes_and_comes_back(
    indexed_meanwhile: bool,
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    batches.store([[event("a", 10)]])
    catch_up(indexer, transactions)
    ((first,),) = query(SESSIONS)
    batches.store([[event("a", 0)]])
    assert (first,) not in query(SESSIONS)
    if indexed_meanwhile:
        catch_up(indexer, transactions)
        check(transactions, client)
    batches.store([[event("a", 5, "logout")]])
    assert (first,) in query(SESSIONS)
    catch_up(indexer, transactions)
    check(transactions, client)


def test_one_event_id_at_two_times_and_times_of_all_ages(
    batches: Batches, indexer: Indexer, transactions: Connection, client: OpenSearch
) -> None:
    """Two documents, and one index for all that is older than the product."""
    times = (
        "2025-06-02T10:00:00Z", "2025-06-02T10:00:00.000001Z", "2025-05-31T23:59:59.999999Z",
        "2020-01-01T00:00:00Z", "2019-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00Z",
    )  # fmt: skip
    same = event("a", 0)
    batches.store([[{**same, "timestamp": time} for time in times]])
    catch_up(indexer, transactions)
    check(transactions, client)
    found = [index for index, _ in search_oracle.indexed(client) if "events" in index]
    assert sorted(found) == sorted(
        [
            *["clickstream-events-2025.06"] * 2,
            "clickstream-events-2025.05",
            "clickstream-events-2020.01",
            *["clickstream-events-older"] * 3,
        ]
    )


def test_texts_that_json_has_to_escape(
    batches: Batches, indexer: Indexer, transactions: Connection, client: OpenSearch
) -> None:
    odd = '"\\\n\r\t\x01\u2028%s%(x)s\U0001f600</script>'
    fields: dict[str, Any] = {"page_url": odd, "search_query": odd, odd: {odd: [None, 2**70, 1e-9]}}
    batches.store([[event(odd, 0, odd, **fields), event(odd, 1, "search", **fields)]])
    catch_up(indexer, transactions)
    check(transactions, client)


def test_large_documents_are_read_alone(
    batches: Batches, indexer: Indexer, transactions: Connection, client: OpenSearch
) -> None:
    """An event whose numbers PostgreSQL writes out, and a session of long texts."""
    numbers = event("a", 0, numbers=[1e300] * 2_000)
    pages = [event("a", n, page_url=f"/{n:02}" + "€" * 8_000) for n in range(1, 20)]
    batches.store([[numbers, *pages, event("a", 21)]])
    catch_up(indexer, transactions)
    check(transactions, client)


def test_transactions_that_commit_in_the_opposite_order_of_their_ids(
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    settings: Settings,
    client: OpenSearch,
) -> None:
    """The cursor never passes one that is still open: no row is skipped."""
    catch_up(indexer, transactions)
    late = event("late", 0, event_id=str(UUID(int=7)))
    with closing(connect(settings, application="test")) as slow:
        with slow.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")
        batches.store([[event("early", 0)]])
        advance(indexer)
        _store_in(slow, batches, late)
        advance(indexer)
        slow.commit()
    catch_up(indexer, transactions)
    check(transactions, client)


def _store_in(connection: Connection, batches: Batches, content: Any) -> None:
    """Store an event in a transaction that stays open."""
    parsed = parse(value_of(content), origin=("a topic", 0, 0), latest=datetime.now(UTC))
    with connection.cursor() as cursor:
        inserted = event_table.insert(cursor, {parsed.key: parsed})
        batches.visitors.store(cursor, inserted.new)


def test_a_cursor_that_nobody_followed_for_days_ends(
    batches: Batches,
    indexer: Indexer,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """As where search was turned off: changes do not pile up, and the index is filled anew."""
    batches.store([[event("a", 10)]])
    catch_up(indexer, transactions)
    query("UPDATE search_cursor SET moved_at = now() - interval '2 days'")
    batches.store([[event("a", 0)]])
    assert query(CHANGES) == [(1,)]
    query("UPDATE search_cursor SET moved_at = now() - interval '8 days'")
    batches.store([[event("a", -10)]])
    assert query(CHANGES) == [(1,)]
    catch_up(indexer, transactions)
    assert query("SELECT now() - moved_at < interval '1 hour' FROM search_cursor") == [(True,)]
    check(transactions, client)


def test_a_cursor_stays_where_nothing_happens(
    batches: Batches, indexer: Indexer, transactions: Connection, query: Query
) -> None:
    batches.store([[event("a", 10)]])
    catch_up(indexer, transactions)
    query("UPDATE search_cursor SET moved_at = now() - interval '2 days'")
    indexer._looked = 0.0
    indexer.turn()
    assert query("SELECT now() - moved_at < interval '1 hour' FROM search_cursor") == [(True,)]
