"""The index templates on a server: unusual documents, existing templates, missing rights."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from opensearchpy import OpenSearch

from clickstream.admin.search_setup import apply_search
from clickstream.clients.opensearch import connect
from clickstream.errors import UserError
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.templates import EVENT_MAPPING, SESSION_MAPPING, templates
from clickstream.settings import Settings
from tests.services.databases import Query
from tests.services.http_proxy import password_proxy
from tests.services.scripts import RunScript
from tests.services.search_servers import SearchServer

COLUMNS = """
    SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s
"""
TYPES = {
    "uuid": "keyword", "text": "keyword", "inet": "ip", "timestamp with time zone": "date",
    "boolean": "boolean", "numeric": "scaled_float", "integer": "integer", "bigint": "long",
    "double precision": "double", "ARRAY": "keyword",
}  # fmt: skip
OTHER_NAMES = {"event_time": "timestamp"}
NOT_IN_DOCUMENTS = {"xid", "stored_at"}

NESTED: Any = json.loads('{"n":' * 200 + "1" + "}" * 200)
UNUSUAL = {
    "": 1,
    "a.b": 1,
    "a": {"b": 2},
    "long": "x" * 40_000,
    "nested": NESTED,
    "list": [1, {"a": 2}],
}
MANY = {f"type-{number}.x": number for number in range(1_500)}


def keywords(fields: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return a value for each keyword field."""
    return {name: "k" for name, mapping in fields.items() if mapping["type"] == "keyword"}


EVENT = {
    **keywords(EVENT_MAPPING),
    "timestamp": "2024-02-29T23:59:59.999999Z",
    "page_url": "https://shop.example/" + "€" * 8_171,
    "search_query": "red running shoes",
    "ip_address": "2001:db8::1",
    "success": False,
    "price": 9999999999.9999,
    "quantity": 1_000_000,
    "engaged_ms": 86_400_000,
    "ingest_delay_seconds": 0.25,
    "properties": {**UNUSUAL, **MANY},
}
SESSION = {
    **keywords(SESSION_MAPPING),
    "first_event_timestamp": "0001-01-01T00:00:00.000000Z",
    "last_event_timestamp": "9999-12-31T23:59:59.999999Z",
    "closed_at": None,
    "unique_pages": ["https://shop.example/1", "€" * 8_192],
    "unique_pages_count": 2,
    "search_queries": ["red running shoes"],
    "products_viewed_count": 0,
    "unique_referrers_count": 1,
    "total_events": 2**40,
    "orders_count": 2**40,
    "session_duration_minutes": 0.5,
    "total_revenue": 9999999999.9999,
    "ip_address": "192.0.2.1",
    "is_bounce": True,
    "engaged_seconds": 86_400.001,
    "event_type_counts": {**MANY, "": 1, "x" * 256: 2},
}


@pytest.fixture
def searching(search: dict[str, str]) -> Settings:
    """Return the settings of the search server."""
    return Settings.from_mapping(search)


@pytest.fixture
def client(searching: Settings) -> Iterator[OpenSearch]:
    with closing(connect(searching)) as opened:
        yield opened


@pytest.fixture
def index(client: OpenSearch, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the name of an index that gets this template; the index is deleted at the end."""
    name = f"{request.param}-test-{uuid.uuid4().hex[:12]}"
    yield name
    client.indices.delete(index=name, ignore_unavailable=True)


@pytest.mark.parametrize(
    ("index", "document", "fields"),
    [
        ("clickstream-events", EVENT, EVENT_MAPPING),
        ("clickstream-sessions", SESSION, SESSION_MAPPING),
    ],
    indirect=["index"],
)
def test_unusual_documents_do_not_change_the_mapping(
    searching: Settings,
    client: OpenSearch,
    index: str,
    document: dict[str, Any],
    fields: dict[str, Any],
) -> None:
    assert document.keys() == fields.keys()
    for time in range(2):
        apply_search(searching)
        sent = {**document, "unknown": {"a": {"b": time}}, "strange.field": "x"}
        client.index(index=index, id=str(time), body=sent, refresh=True)
        (found,) = client.indices.get_mapping(index=index).values()
        assert found["mappings"]["properties"] == fields
        assert found["mappings"]["dynamic"] == "false"
        assert client.get(index=index, id=str(time))["_source"] == sent
    field = "search_query" if "search_query" in fields else "search_queries"
    for query in ({"term": {field: "red running shoes"}}, {"match": {f"{field}.text": "shoes"}}):
        assert client.count(index=index, body={"query": query})["count"] == 2


@pytest.mark.parametrize(
    ("table", "fields", "computed"),
    [
        ("clickstream_events", EVENT_MAPPING, {"session_id", "ingest_delay_seconds"}),
        ("session_metrics", SESSION_MAPPING, set()),
    ],
)
def test_columns_and_fields_have_corresponding_types(
    query: Query, table: str, fields: dict[str, Any], computed: set[str]
) -> None:
    columns = {OTHER_NAMES.get(name, name): kind for name, kind in query(COLUMNS, (table,))}
    columns = {name: kind for name, kind in columns.items() if name not in NOT_IN_DOCUMENTS}
    assert columns.keys() | computed == fields.keys()
    for name in (name for name, kind in columns.items() if kind != "jsonb"):
        assert fields[name]["type"] == TYPES[columns[name]], name


def test_create_schema_creates_the_templates_and_the_doctor_finds_them(
    run_script: RunScript, search: dict[str, str], client: OpenSearch
) -> None:
    for _ in range(2):
        done = run_script("create_schema.py", **search)
        assert done.returncode == 0, done.stderr
        assert "Index templates clickstream-events and clickstream-sessions are" in done.stdout
    for name, template in templates(IndexNames("clickstream")).items():
        (found,) = client.indices.get_index_template(name=name)["index_templates"]
        assert found["index_template"]["template"]["mappings"] == template["template"]["mappings"]
    done = run_script("clickstream", "doctor", **search)
    assert done.returncode == 0, done.stdout + done.stderr


def test_create_schema_adds_new_fields_to_the_indexes_of_an_earlier_version(
    searching: Settings, client: OpenSearch
) -> None:
    """An index that is not ours keeps its mapping."""
    old = {name: mapping for name, mapping in EVENT_MAPPING.items() if name != "repaired"}
    names = ("clickstream-events-2025.06", "clickstream-events-of-others")
    body = {"mappings": {"dynamic": "false", "properties": old}}
    for name in names:
        client.indices.create(index=name, body=body)
    try:
        apply_search(searching)
        apply_search(searching)
        ours, theirs = (
            client.indices.get_mapping(index=name)[name]["mappings"]["properties"] for name in names
        )
        assert ours == EVENT_MAPPING
        assert theirs == old
    finally:
        for name in names:
            client.indices.delete(index=name)


def test_create_schema_does_not_mention_search_that_is_off(run_script: RunScript) -> None:
    done = run_script("create_schema.py")
    assert done.returncode == 0, done.stderr
    assert "emplate" not in done.stdout + done.stderr


def test_an_unreachable_server_is_reported_in_one_sentence(run_script: RunScript) -> None:
    done = run_script("create_schema.py", OPENSEARCH_HOST="127.0.0.1", OPENSEARCH_PORT="1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot put the index templates into OpenSearch at 127.0.")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("password", "closed"), [("wrong", ""), ("right", "_index_template")])
def test_a_user_without_the_right_to_create_templates_gets_an_error(
    searching: Settings, password: str, closed: str
) -> None:
    upstream = (searching.opensearch_host, searching.opensearch_port)
    with password_proxy(upstream, "clickstream", "right", forbidden=closed) as port:
        settings = Settings.from_mapping(
            {
                "OPENSEARCH_HOST": "127.0.0.1",
                "OPENSEARCH_PORT": str(port),
                "OPENSEARCH_USE_SSL": "false",
                "OPENSEARCH_USER": "clickstream",
                "OPENSEARCH_PASSWORD": password,
            }
        )
        with pytest.raises(UserError, match="does not let OPENSEARCH_USER put index templates"):
            apply_search(settings)


def test_a_conflicting_template_of_another_owner_is_named(own_search: SearchServer) -> None:
    theirs = {"index_patterns": ["clickstream-*"], "priority": 100}
    settings = Settings.from_mapping(own_search.environment)
    with closing(connect(settings)) as client:
        client.indices.put_index_template(name="theirs", body=theirs)
    with pytest.raises(UserError, match=r"refuses an index template .*theirs"):
        apply_search(settings)
