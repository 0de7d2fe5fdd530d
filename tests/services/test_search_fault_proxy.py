"""The fault proxy injects the faults that a test sets, and no others."""

import gzip
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as Lost
from opensearchpy.exceptions import ConnectionTimeout, TransportError

from clickstream.clients.opensearch import connect
from clickstream.settings import Settings
from tests.services.search_fault_proxy import Faults, SearchFaultProxy, search_fault_proxy
from tests.services.search_servers import SearchServer
from tests.services.waiting import eventually

pytestmark = pytest.mark.local_search
INDEX = "clickstream-sessions"


@pytest.fixture
def proxy(search: dict[str, str]) -> Iterator[SearchFaultProxy]:
    with search_fault_proxy(search, seed=7) as opened:
        yield opened


@pytest.fixture
def client(proxy: SearchFaultProxy) -> Iterator[OpenSearch]:
    """Yield a client that connects to the fault proxy."""
    with closing(connect(Settings.from_mapping(proxy.environment))) as opened:
        yield opened


@pytest.fixture
def direct(search: dict[str, str]) -> Iterator[OpenSearch]:
    """Yield a client that connects to the search server itself."""
    with closing(connect(Settings.from_mapping(search))) as opened:
        yield opened


def action(name: str, key: str, version: int = 1) -> dict[str, Any]:
    return {name: {"_index": INDEX, "_id": key, "version": version, "version_type": "external_gte"}}


def body(*keys: str, version: int = 1) -> str:
    """Return a bulk body that indexes each key and then deletes a document that does not exist."""
    lines: list[dict[str, Any]] = []
    for key in keys:
        lines += [action("index", key, version), {"session_id": key}]
        lines += [action("delete", f"no-{key}", version)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def stored(direct: OpenSearch) -> set[str]:
    direct.indices.refresh(index="clickstream-*")
    hits = direct.search(index="clickstream-*", body={"size": 1000})["hits"]["hits"]
    return {hit["_id"] for hit in hits}


def test_without_faults_every_request_and_reply_passes_unchanged(
    proxy: SearchFaultProxy, client: OpenSearch, direct: OpenSearch
) -> None:
    done = client.bulk(body=body("a", "b"))
    statuses = [next(iter(item.values()))["status"] for item in done["items"]]
    assert (done["errors"], statuses) == (False, [201, 404, 201, 404])
    assert client.indices.exists(index=INDEX)
    assert not client.exists(index=INDEX, id="c")
    assert client.get(index=INDEX, id="a") == direct.get(index=INDEX, id="a")
    client.delete(index=INDEX, id="a")
    assert stored(direct) == {"b"}
    assert proxy.counts == {"bulks": 1, "passed": 1}


@pytest.mark.parametrize(("fault", "status"), [("refused", 429), ("unavailable", 503)])
def test_a_share_of_the_bulk_requests_fails_and_is_not_forwarded(
    proxy: SearchFaultProxy, client: OpenSearch, direct: OpenSearch, fault: str, status: int
) -> None:
    proxy.faults = Faults(**{fault: 0.3})
    arrived, statuses = set(), set()
    for number in range(60):
        try:
            client.bulk(body=body(str(number)))
            arrived.add(str(number))
        except TransportError as error:
            statuses.add(error.status_code)
    assert statuses == {status}
    assert stored(direct) == arrived
    assert 5 < proxy.counts[fault] == 60 - len(arrived) < 35


def test_a_share_of_the_items_is_refused_in_its_position(
    proxy: SearchFaultProxy, client: OpenSearch, direct: OpenSearch
) -> None:
    proxy.faults = Faults(refused_items=0.3)
    keys = [str(number) for number in range(60)]
    done = client.bulk(body=body(*keys), params={"filter_path": "errors"})
    assert done["errors"] is True
    items = [next(iter(item.items())) for item in done["items"]]
    expected = [(n, key) for each in keys for n, key in (("index", each), ("delete", f"no-{each}"))]
    assert [(name, item["_id"]) for name, item in items] == expected
    refused = {item["_id"] for _, item in items if item["status"] == 429}
    assert all(("error" in item) == (item["_id"] in refused) for _, item in items)
    assert stored(direct) == set(keys) - refused
    assert 20 < proxy.counts["refused_items"] == len(refused) < 60
    proxy.faults = Faults(refused_items=1.0)
    assert {i["index"]["status"] for i in client.bulk(body=body("x"))["items"][:1]} == {429}
    assert "x" not in stored(direct)


def test_a_cut_reply_belongs_to_documents_that_are_indexed(
    proxy: SearchFaultProxy, client: OpenSearch, direct: OpenSearch
) -> None:
    proxy.faults = Faults(cut=1.0)
    with pytest.raises(Lost):
        client.bulk(body=body("a"))
    assert stored(direct) == {"a"}
    assert proxy.counts["cut"] == 1
    proxy.faults = Faults()
    assert client.bulk(body=body("b"))["errors"] is False


def test_a_reply_is_delayed(
    proxy: SearchFaultProxy, client: OpenSearch, direct: OpenSearch
) -> None:
    proxy.faults = Faults(delay_seconds=1.0)
    started = time.monotonic()
    client.bulk(body=body("a"))
    assert time.monotonic() - started >= 1.0
    with pytest.raises(ConnectionTimeout):
        client.bulk(body=body("b"), request_timeout=0.2)
    eventually(lambda: stored(direct) == {"a", "b"})
    eventually(lambda: proxy.counts["delayed"] == 2)


def test_a_request_held_back_can_be_delivered_after_its_client_gave_up(
    proxy: SearchFaultProxy, client: OpenSearch, direct: OpenSearch
) -> None:
    proxy.faults = Faults(held_back=1.0)
    with pytest.raises(Lost):
        client.bulk(body=body("a", "b", version=5))
    assert proxy.counts["held_back"] == 1
    proxy.faults = Faults()
    client.bulk(body=body("a", version=6))
    assert stored(direct) == {"a"}
    (late,) = proxy.deliver_late()
    assert [next(iter(item.values()))["status"] for item in late["items"]] == [409, 409, 201, 404]
    assert stored(direct) == {"a", "b"}
    assert proxy.deliver_late() == []


def test_chunked_and_compressed_bodies_on_one_connection_are_understood(
    proxy: SearchFaultProxy, direct: OpenSearch
) -> None:
    proxy.faults = Faults(refused_items=0.5)
    kind = {"Content-Type": "application/x-ndjson"}
    with closing(
        http.client.HTTPConnection("127.0.0.1", int(proxy.environment["OPENSEARCH_PORT"]))
    ) as connection:
        sockets = set()
        for each in "abcdefgh":
            packed = gzip.compress(body(each).encode())
            chunked = iter([packed[:20], packed[20:]])
            headers = {**kind, "Content-Encoding": "gzip"}
            connection.request("POST", "/_bulk", chunked, headers, encode_chunked=True)
            sockets.add(connection.sock)
            assert len(json.load(connection.getresponse())["items"]) == 2
        assert len(sockets) == 1
    assert proxy.counts["refused_items"] + len(stored(direct)) >= 8
    assert stored(direct) < set("abcdefgh")


def test_the_connection_ends_if_the_server_is_gone(own_search: SearchServer) -> None:
    with search_fault_proxy(own_search.environment, seed=1) as proxy:
        with closing(connect(Settings.from_mapping(proxy.environment))) as client:
            client.bulk(body=body("a"))
            own_search.kill()
            with pytest.raises(Lost):
                client.bulk(body=body("b"))
            own_search.start()
            client.bulk(body=body("c"))
            assert {"c"} <= stored(client) <= {"a", "c"}
            own_search.wipe()
            assert list(client.indices.get(index="*")) == []
        client_after = connect(Settings.from_mapping(proxy.environment))
    with closing(client_after), pytest.raises(Lost):
        client_after.info()
