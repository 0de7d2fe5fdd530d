"""Oracle of the search index: the documents that it must have, built in Python from the rows."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException
from opensearchpy.helpers import scan
from psycopg2.extras import RealDictCursor

from clickstream.clients.opensearch import connect as connect_search
from clickstream.clients.postgres import Connection, connect
from clickstream.settings import Settings
from tests.services.waiting import eventually

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOT_IN_DOCUMENTS = {"page_path", "stored_at", "xid"}

SELECT_EVENTS = "SELECT *, host(ip_address) AS ip_address FROM events_with_session"
SELECT_SESSIONS = "SELECT *, host(ip_address) AS ip_address FROM session_metrics"

Documents = dict[tuple[str, str], dict[str, Any]]


def check(environment: Mapping[str, str]) -> int:
    """Assert that the index matches PostgreSQL, and return the number of documents."""
    settings = Settings.from_mapping(environment)
    with (
        closing(connect(settings, application="oracle")) as connection,
        closing(connect_search(settings)) as client,
    ):
        return check_documents(connection, client)


def wait_until_equal(environment: Mapping[str, str], search: Mapping[str, str]) -> int:
    """Wait until the index matches PostgreSQL, and return the number of documents."""

    def documents() -> int:
        try:
            return check({**environment, **search})
        except OpenSearchException:  # a new index cannot be searched at once
            return 0

    return eventually(documents)


def check_documents(connection: Connection, client: OpenSearch) -> int:
    """Do the same as `check`, with connections that are open."""
    expected = dict(_expected(connection))
    found = indexed(client)
    assert found.keys() == expected.keys()
    for key, document in expected.items():
        assert found[key] == document, key
    return len(found)


def indexed(client: OpenSearch) -> Documents:
    """Return all documents of events and sessions, by index and id."""
    client.indices.refresh(index="clickstream-*")
    return {
        (hit["_index"], hit["_id"]): hit["_source"]
        for pattern in ("clickstream-events*", "clickstream-sessions*")
        for hit in scan(client, index=pattern, size=2_000)
    }


def _expected(connection: Connection) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(SELECT_EVENTS)
        for row in cursor.fetchall():
            time = row.pop("event_time")
            microseconds = (time - EPOCH) // datetime.resolution
            key = (_index(time), f"{row['event_id']}:{microseconds}")
            delay = _seconds(row["stored_at"] - time)
            yield key, _document({**row, "timestamp": time, "ingest_delay_seconds": delay})
        cursor.execute(SELECT_SESSIONS)
        for row in cursor.fetchall():
            yield ("clickstream-sessions", row["session_id"]), _document(row)


def _seconds(delay: timedelta) -> Decimal:
    microseconds = Decimal(delay // timedelta.resolution)
    return (microseconds / 1_000_000).quantize(Decimal("0.001"), ROUND_HALF_UP)


def _index(time: datetime) -> str:
    return f"clickstream-events-{time:%Y.%m}" if time.year >= 2020 else "clickstream-events-older"


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _value(value)
        for name, value in row.items()
        if value is not None and name not in NOT_IN_DOCUMENTS
    }


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    return float(value) if isinstance(value, Decimal) else value
