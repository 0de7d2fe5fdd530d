"""The index stays correct if requests arrive late, leaders are replaced, or replies are wrong."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from random import Random

import pytest
from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection
from clickstream.indexer import checkpoint
from clickstream.indexer.background import BackgroundIndexer
from clickstream.indexer.indexer import INDEXER_ERRORS, Indexer
from clickstream.indexer.opensearch_errors import SearchOutageError
from clickstream.indexer.ownership import OWNER_KEY
from clickstream.settings import Settings
from tests.services import search_oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.http_proxy import Reply, Request, forward, http_proxy
from tests.services.indexers import (
    ManualClock,
    advance,
    assert_indexed,
    catch_up,
    check_indexes,
    is_caught_up,
    open_indexer,
)
from tests.services.records import event
from tests.services.search_fault_proxy import Faults, search_fault_proxy
from tests.services.test_search_indexer import RULE
from tests.services.waiting import eventually

END_INDEXER_CONNECTIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'clickstream search' AND datname = current_database()
"""
LAST_EVENT = "SELECT event_id::text FROM clickstream_events ORDER BY event_time DESC LIMIT 1"
STATE_INDEX = "clickstream-search-state"
NOTHING = "no path has this in it"
# Enough requests for some documents to be read only after the first request was answered.
MANY_EVENTS = 6_100


class HoldingProxy:
    """A proxy that holds back requests that write to one path.

    path: part of the paths held back. loses: drop the first such request, to deliver it late.
    held: the requests that were held back. opened: set it to let the waiting requests go on.
    """

    def __init__(self, settings: Settings) -> None:
        self.upstream = (settings.opensearch_host, settings.opensearch_port)
        self.path = NOTHING
        self.loses = False
        self.held: list[Request] = []
        self.opened = threading.Event()

    def answer(self, request: Request) -> Reply | None:
        """Return the reply of OpenSearch; None, which ends the connection, for a lost request."""
        if request.method in {"POST", "PUT"} and self.path in request.path:
            self.held.append(request)
            if self.loses:
                self.path = NOTHING
                return None
            self.opened.wait(60)
        return forward(self.upstream, request)

    def deliver_late(self) -> None:
        """Send what was lost to OpenSearch."""
        for request in self.held:
            forward(self.upstream, request)


@pytest.fixture
def batches(transactions: Connection) -> Batches:
    return Batches(transactions, RULE)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def proxy(searching: Settings) -> HoldingProxy:
    return HoldingProxy(searching)


@contextmanager
def indexer_behind(
    proxy: HoldingProxy, settings: Settings, clock: ManualClock
) -> Iterator[Indexer]:
    """Yield an indexer that connects to OpenSearch by the proxy."""
    with (
        http_proxy(proxy.answer) as port,
        open_indexer(replace(settings, opensearch_port=port), clock=clock) as opened,
    ):
        yield opened


def lose_request(proxy: HoldingProxy, path: str, indexer: Indexer) -> None:
    """Take turns until a request to this path is lost; the indexer sees an error."""
    proxy.path, proxy.loses = path, True

    def lost() -> list[Request]:
        with suppress(*INDEXER_ERRORS):
            advance(indexer)
        return proxy.held

    eventually(lost)


def delete_checkpoint(connection: Connection) -> None:
    """Start a rebuild of the index."""
    with connection, connection.cursor() as cursor:
        checkpoint.forget(cursor)


def test_a_leader_that_is_replaced_within_a_step_cannot_write_any_more(
    searching: Settings,
    batches: Batches,
    proxy: HoldingProxy,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """It continues with documents that it had read, of months that its successor has indexed."""
    with open_indexer(searching) as before:
        batches.store([[event("a", 0)]])
        catch_up(before, transactions)
    months = [event("z", 0, timestamp=f"2025-0{month}-05T00:00:00Z") for month in (8, 9)]
    batches.store([[*(event(f"u{number}", 0) for number in range(MANY_EVENTS)), *months]])
    proxy.path = "_bulk"
    with indexer_behind(proxy, searching, clock) as replaced:
        failed: list[Exception] = []
        turn = threading.Thread(target=_turn, args=(replaced, failed))
        turn.start()
        eventually(lambda: proxy.held)
        query(END_INDEXER_CONNECTIONS)
        with open_indexer(searching, clock=clock) as successor:
            assert_indexed(successor, transactions, client)
            proxy.opened.set()
            turn.join(60)
            assert failed
            batches.store([[event("z", 1, timestamp="2025-09-05T00:00:10Z")]])
            check_indexes(successor, clock, transactions)
            search_oracle.check_documents(transactions, client)


def _turn(indexer: Indexer, failed: list[Exception]) -> None:
    try:
        indexer.turn()
    except INDEXER_ERRORS as error:
        failed.append(error)


@pytest.mark.parametrize("then", ["a month more", "a rebuild"])
def test_a_state_document_that_arrives_late_changes_nothing(
    then: str,
    searching: Settings,
    batches: Batches,
    proxy: HoldingProxy,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
) -> None:
    """If it were stored, it would hide an index from the indexer, or bring an old token back."""
    with indexer_behind(proxy, searching, clock) as indexer:
        batches.store([[event("a", 0)]])
        catch_up(indexer, transactions)
        batches.store([[event("a", 5)]])
        lose_request(proxy, STATE_INDEX, indexer)
        if then == "a rebuild":
            delete_checkpoint(transactions)
        batches.store([[event("b", 0, timestamp="2024-01-05T00:00:00Z")]])
        catch_up(indexer, transactions)
        proxy.deliver_late()
        batches.store([[event("c", 0, timestamp="2024-01-05T00:00:10Z")]])
        check_indexes(indexer, clock, transactions)
        search_oracle.check_documents(transactions, client)


@pytest.mark.parametrize("how", ["rebuilt", "wiped"])
def test_a_bulk_request_of_an_earlier_backfill_that_arrives_late_changes_nothing(
    how: str,
    searching: Settings,
    search: dict[str, str],
    batches: Batches,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
) -> None:
    """It has a session that was removed before the new backfill."""
    with search_fault_proxy(search, seed=1) as proxy:
        behind_proxy = replace(searching, opensearch_port=int(proxy.environment["OPENSEARCH_PORT"]))
        with open_indexer(behind_proxy, clock=clock) as indexer:
            batches.store([[event("a", 100)]])
            catch_up(indexer, transactions)
            proxy.faults = Faults(held_back=1.0)
            batches.store([[event("b", 100)]])

            def gave_up() -> int:
                with suppress(SearchOutageError):
                    advance(indexer)
                return proxy.counts["held_back"]

            eventually(gave_up)
            proxy.faults = Faults()
            batches.store([[event("b", 80)]])
            _start_over(how, transactions, client)
            check_indexes(indexer, clock, transactions)
            assert proxy.deliver_late()
            check_indexes(indexer, clock, transactions)
            search_oracle.check_documents(transactions, client)


def _start_over(how: str, connection: Connection, client: OpenSearch) -> None:
    if how == "rebuilt":
        delete_checkpoint(connection)
    else:
        for name in client.indices.get(index="clickstream-*"):
            client.indices.delete(index=name)


def test_an_index_of_this_database_that_the_state_does_not_list_is_deleted(
    searching: Settings,
    batches: Batches,
    clock: ManualClock,
    transactions: Connection,
    client: OpenSearch,
) -> None:
    """A leader that died between creating and listing it leaves one."""
    with open_indexer(searching, clock=clock) as indexer:
        batches.store([[event("a", 100)]])
        catch_up(indexer, transactions)
        with transactions, transactions.cursor() as cursor:
            meta = {OWNER_KEY: checkpoint.database(cursor)}
        unlisted = "clickstream-events-2023.01"
        client.indices.create(index=unlisted, body={"mappings": {"_meta": meta}})
        client.index(index=unlisted, id="x", body={"user_id": "nobody"})
        check_indexes(indexer, clock, transactions)
        search_oracle.check_documents(transactions, client)


WRONG_REPLIES = {
    "503, empty": Reply(503, b"", "text/plain"),
    "503, a list": Reply(503, b"[]"),
    "503 in another encoding": Reply(503, b"<html>d\xe9sol\xe9</html>", "text/html"),
    "200, empty": Reply(200, b"", "text/html"),
    "200, an object": Reply(200, b"{}"),
    "200, a text": Reply(200, b"ok", "text/plain"),
    "404 of a proxy": Reply(404, b"404 page not found", "text/plain"),
}
# What OpenSearch itself replies if there is no index.
NO_INDEX = ("_settings", "200, an object")


@pytest.mark.long
@pytest.mark.local_search
@pytest.mark.parametrize("path", ["_bulk", STATE_INDEX, "_settings"])
def test_replies_that_do_not_come_from_opensearch_are_an_outage_and_change_nothing(
    path: str,
    searching: Settings,
    batches: Batches,
    transactions: Connection,
    client: OpenSearch,
    caplog: pytest.LogCaptureFixture,
    subtests: pytest.Subtests,
) -> None:
    """Something between the indexer and OpenSearch sends them; no index is deleted for that."""
    upstream = (searching.opensearch_host, searching.opensearch_port)
    wrong: list[Reply] = []  # at most one, for requests of this path
    deletions: list[str] = []

    def answer(request: Request) -> Reply:
        if request.method == "DELETE":
            deletions.append(request.path)
        reply = next(iter(wrong), None) if path in request.path else None
        return reply or forward(upstream, request)

    with http_proxy(answer) as port:
        indexer = BackgroundIndexer(replace(searching, opensearch_port=port), Random(1))
        indexer.start()
        batches.store([[event("a", 0)]])
        eventually(lambda: is_caught_up(transactions))
        deletions.clear()
        for number, name in enumerate(WRONG_REPLIES, 1):
            if (path, name) == NO_INDEX:
                continue
            with subtests.test(name):
                caplog.clear()
                wrong[:] = [WRONG_REPLIES[name]]
                batches.store([[event("a", 10 * number)]])
                eventually(lambda: "cannot index into OpenSearch" in caplog.text)
                wrong.clear()
                eventually(lambda: is_caught_up(transactions))
                search_oracle.check_documents(transactions, client)
        indexer.stop(10)
    assert deletions == []


def test_changes_during_a_backfill_count_as_backlog(
    searching: Settings, batches: Batches, transactions: Connection, client: OpenSearch
) -> None:
    """Also if the number of events is a multiple of the rows of a step."""
    batches.store([[event(f"u{number:03}", number) for number in range(200)]])
    with open_indexer(searching, rows_per_step=100) as indexer:
        while not _has_backfilled_last_event(transactions):
            indexer.turn()
        batches.store([[event("u000", -5)]])
        assert not is_caught_up(transactions)
        assert_indexed(indexer, transactions, client)


def _has_backfilled_last_event(connection: Connection) -> bool:
    with connection, connection.cursor() as cursor:
        current = checkpoint.read(cursor)
        cursor.execute(LAST_EVENT)
        ((event_id,),) = cursor.fetchall()
    return bool(current and current.backfilled_to and current.backfilled_to[1] == event_id)
