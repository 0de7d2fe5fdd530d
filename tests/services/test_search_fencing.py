"""What must not write the index any more does not: late requests and replaced indexers."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from random import Random

import pytest
from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection, only_row
from clickstream.indexer import backlog, checkpoint
from clickstream.indexer import indexer as indexer_module
from clickstream.indexer.bulk import SearchOutageError
from clickstream.indexer.indexer import FAILURES, Indexer
from clickstream.settings import Settings
from tests.services import search_oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.http_proxy import Reply, Request, forward, http_proxy
from tests.services.records import event
from tests.services.search_fault_proxy import Faults, search_fault_proxy
from tests.services.search_oracle import advance, catch_up
from tests.services.test_search_indexer import RULE
from tests.services.waiting import eventually

END_INDEXERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'clickstream search' AND datname = current_database()
"""
MANY = 6_100  # requests enough that some are read only when the first was answered


class HoldingProxy:
    """A proxy that holds requests to one path back, and forwards them when it is told to."""

    def __init__(self, settings: Settings) -> None:
        self.upstream = (settings.opensearch_host, settings.opensearch_port)
        self.path = "nothing is held up"
        self.loses = False
        self.held: list[Request] = []
        self.opened = threading.Event()

    def answer(self, request: Request) -> Reply | None:
        """None where the request is lost on its way, to arrive late."""
        if request.method in {"POST", "PUT"} and self.path in request.path:
            self.held.append(request)
            if self.loses:
                self.path = "nothing any more"
                return None
            self.opened.wait(60)
        return forward(self.upstream, request)

    def arrive(self) -> None:
        """What was lost arrives."""
        for request in self.held:
            forward(self.upstream, request)


@pytest.fixture
def batches(transactions: Connection) -> Batches:
    return Batches(transactions, RULE)


@pytest.fixture
def proxy(searching: Settings) -> HoldingProxy:
    return HoldingProxy(searching)


@contextmanager
def through(proxy: HoldingProxy, settings: Settings) -> Iterator[Indexer]:
    """An indexer that connects to the proxy."""
    with (
        http_proxy(proxy.answer) as port,
        closing(Indexer(replace(settings, opensearch_port=port), Random(1))) as made,
    ):
        yield made


def lose(proxy: HoldingProxy, path: str, indexer: Indexer) -> None:
    """Let the indexer go on until a request to this path is lost."""
    proxy.path, proxy.loses = path, True

    def lost() -> list[Request]:
        with suppress(*FAILURES):
            advance(indexer)
        return proxy.held

    eventually(lost)


def look_again(indexer: Indexer, connection: Connection) -> None:
    """As it does every few seconds."""
    indexer._looked = 0.0
    catch_up(indexer, connection)


def test_an_indexer_that_was_replaced_in_the_middle_of_a_step(
    searching: Settings,
    batches: Batches,
    proxy: HoldingProxy,
    transactions: Connection,
    client: OpenSearch,
    query: Query,
) -> None:
    """It goes on with what it had read, and meets months that its successor has indexed."""
    with closing(Indexer(searching, Random(2))) as before:
        batches.store([[event("a", 0)]])
        catch_up(before, transactions)
    months = [event("z", 0, timestamp=f"2025-0{month}-05T00:00:00Z") for month in (8, 9)]
    batches.store([[*(event(f"u{number}", 0) for number in range(MANY)), *months]])
    proxy.path = "_bulk"
    with through(proxy, searching) as replaced:
        failed: list[Exception] = []
        turn = threading.Thread(target=_turn, args=(replaced, failed))
        turn.start()
        eventually(lambda: proxy.held)
        query(END_INDEXERS)
        with closing(Indexer(searching, Random(3))) as successor:
            catch_up(successor, transactions)
            search_oracle.check_documents(transactions, client)
            proxy.opened.set()
            turn.join(60)
            assert failed
            batches.store([[event("z", 1, timestamp="2025-09-05T00:00:10Z")]])
            look_again(successor, transactions)
            search_oracle.check_documents(transactions, client)


def _turn(indexer: Indexer, failed: list[Exception]) -> None:
    try:
        indexer.turn()
    except FAILURES as error:
        failed.append(error)


@pytest.mark.parametrize("then", ["a month more", "a rebuild"])
def test_a_state_that_arrives_late(
    then: str,
    searching: Settings,
    batches: Batches,
    proxy: HoldingProxy,
    transactions: Connection,
    client: OpenSearch,
) -> None:
    """It would hide an index from the indexer, or bring a token back."""
    with through(proxy, searching) as one:
        batches.store([[event("a", 0)]])
        catch_up(one, transactions)
        batches.store([[event("a", 5)]])
        lose(proxy, "clickstream-search-state", one)
        if then == "a rebuild":
            with transactions, transactions.cursor() as cursor:
                checkpoint.forget(cursor)
        batches.store([[event("b", 0, timestamp="2024-01-05T00:00:00Z")]])
        catch_up(one, transactions)
        proxy.arrive()
        batches.store([[event("c", 0, timestamp="2024-01-05T00:00:10Z")]])
        look_again(one, transactions)
        search_oracle.check_documents(transactions, client)


@pytest.mark.parametrize("then", ["rebuilt", "wiped"])
def test_a_bulk_request_of_an_earlier_filling_arrives_late(
    then: str,
    searching: Settings,
    search: dict[str, str],
    batches: Batches,
    transactions: Connection,
    client: OpenSearch,
) -> None:
    """It has a session that ceased to exist before the new filling."""
    with search_fault_proxy(search, seed=1) as proxy:
        port = int(proxy.environment["OPENSEARCH_PORT"])
        with closing(Indexer(replace(searching, opensearch_port=port), Random(1))) as one:
            batches.store([[event("a", 100)]])
            catch_up(one, transactions)
            proxy.faults = Faults(held_back=1.0)
            batches.store([[event("b", 100)]])

            def gave_up() -> int:
                with suppress(SearchOutageError):
                    advance(one)
                return proxy.counts["held_back"]

            eventually(gave_up)
            proxy.faults = Faults()
            batches.store([[event("b", 80)]])
            _make_anew(then, transactions, client)
            look_again(one, transactions)
            assert proxy.deliver_late()
            look_again(one, transactions)
            search_oracle.check_documents(transactions, client)


def _make_anew(how: str, connection: Connection, client: OpenSearch) -> None:
    if how == "rebuilt":
        with connection, connection.cursor() as cursor:
            checkpoint.forget(cursor)
    else:
        for name in client.indices.get(index="clickstream-*"):
            client.indices.delete(index=name)


def test_an_index_that_postgresql_has_nothing_for_goes(
    searching: Settings, batches: Batches, transactions: Connection, client: OpenSearch
) -> None:
    with closing(Indexer(searching, Random(1))) as one:
        batches.store([[event("a", 100)]])
        catch_up(one, transactions)
        client.index(index="clickstream-events-2023.01", id="x", body={"user_id": "nobody"})
        look_again(one, transactions)
        search_oracle.check_documents(transactions, client)


def test_two_databases_do_not_take_the_indexes_from_each_other_for_ever(
    searching: Settings, batches: Batches, transactions: Connection, client: OpenSearch
) -> None:
    """The one that was there says so, and waits."""
    with closing(Indexer(searching, Random(1))) as one:
        batches.store([[event("a", 100)]])
        catch_up(one, transactions)
        state = client.get(index="clickstream-search-state", id="state")["_source"]
        other = {**state, "token": "another", "database": "another", "version": 2**60}
        client.index(
            index="clickstream-search-state",
            id="state",
            body=other,
            params={"version": 2**60, "version_type": "external"},
        )
        for _ in range(2):
            batches.store([[event("b", 100)]])
            with pytest.raises(SearchOutageError, match="were taken over for another"):
                eventually(one.turn)


ODD_REPLIES = {
    "503, empty": Reply(503, b"", "text/plain"),
    "503, a list": Reply(503, b"[]"),
    "503 in another encoding": Reply(503, b"<html>d\xe9sol\xe9</html>", "text/html"),
    "200, empty": Reply(200, b"", "text/html"),
    "200, an object": Reply(200, b"{}"),
    "200, a text": Reply(200, b"ok", "text/plain"),
    "404 of a proxy": Reply(404, b"404 page not found", "text/plain"),
}
CASES = [
    (path, reply)
    for path in ("_bulk", "clickstream-search-state", "_settings")
    for reply in ODD_REPLIES
    # That is OpenSearch's own word where there is no index.
    if (path, reply) != ("_settings", "200, an object")
]


@pytest.mark.parametrize("search", ["local_search"], indirect=True)
@pytest.mark.parametrize(("path", "reply"), CASES)
def test_odd_replies_are_an_outage_and_change_nothing(
    path: str,
    reply: str,
    searching: Settings,
    batches: Batches,
    transactions: Connection,
    client: OpenSearch,
) -> None:
    """As of something between the indexer and OpenSearch; no index is deleted for it."""
    upstream = (searching.opensearch_host, searching.opensearch_port)
    odd = threading.Event()
    deletions: list[str] = []

    def answer(request: Request) -> Reply:
        if request.method == "DELETE":
            deletions.append(request.path)
        return (
            ODD_REPLIES[reply]
            if odd.is_set() and path in request.path
            else forward(upstream, request)
        )

    with http_proxy(answer) as port:
        one = Indexer(replace(searching, opensearch_port=port), Random(1))
        one.start()
        batches.store([[event("a", 0)]])
        eventually(lambda: _caught_up(transactions))
        deletions.clear()
        odd.set()
        batches.store([[event("a", 10)]])
        eventually(lambda: one._failures)
        odd.clear()
        eventually(lambda: _caught_up(transactions))
        one.finish(10)
    search_oracle.check_documents(transactions, client)
    assert deletions == []


def _caught_up(connection: Connection) -> bool:
    with connection, connection.cursor() as cursor:
        return backlog.read(cursor).caught_up


def test_what_changes_during_a_filling_counts_as_backlog(
    searching: Settings,
    batches: Batches,
    transactions: Connection,
    client: OpenSearch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the rows are a multiple of a step."""
    monkeypatch.setattr(indexer_module, "ROWS_AT_ONCE", 100)
    batches.store([[event(f"u{number:03}", number) for number in range(200)]])
    with closing(Indexer(searching, Random(1))) as one:
        while not _filled_to_the_last(transactions):
            one.turn()
        batches.store([[event("u000", -5)]])
        assert not _caught_up(transactions)
        catch_up(one, transactions)
        search_oracle.check_documents(transactions, client)


def _filled_to_the_last(connection: Connection) -> bool:
    with connection, connection.cursor() as cursor:
        current = checkpoint.read(cursor)
        cursor.execute("SELECT event_id::text FROM clickstream_events ORDER BY event_time DESC")
        return current is not None and current.filled_id == only_row(cursor)[0]
