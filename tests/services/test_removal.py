"""Sessions are removed with their events and documents, and everything still adds up."""

from datetime import timedelta

from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import removal, write_lock
from clickstream.storage.removal import RejectedKey, RemovedSessions
from clickstream.verify.stored_sessions import verify_sessions
from tests.services.batches import TOPIC, Batches
from tests.services.databases import Query
from tests.services.indexers import ManualClock, assert_indexed, open_indexer
from tests.services.records import event

RULE = Rule(timedelta(minutes=30), frozenset(), frozenset())
MONTH_SECONDS = 31 * 86_400


def test_removed_sessions_leave_no_event_no_document_and_no_refused_document(
    transactions: Connection, query: Query, searching: Settings, client: OpenSearch
) -> None:
    """The event documents of the last month had never been indexed: its index is not created."""
    batches = Batches(transactions, RULE)
    with open_indexer(searching, clock=ManualClock(), rows_per_step=2) as indexer:
        batches.store([[event("a", 0), event("a", 60), event("b", 0)], [event("a", 9_000)]])
        assert_indexed(indexer, transactions, client)
        batches.store([[event("a", MONTH_SECONDS), event("b", 30)], [b"not JSON"]])
        chosen = query("SELECT session_id FROM session_metrics WHERE user_id = 'a'")
        query(
            "INSERT INTO search_refused_documents (index_name, document_id, status, reason) "
            "VALUES ('clickstream-sessions', %s, 400, '')",
            chosen[0],
        )
        with transactions, transactions.cursor() as cursor:
            write_lock.exclude_consumers(cursor)
            removed = removal.remove_sessions(cursor, [session_id for (session_id,) in chosen])
            rejected = removal.remove_rejected(cursor, [RejectedKey(TOPIC.topic_id, 1, 1)])
        assert (removed, rejected) == (RemovedSessions(3, 4), {"not_json": 1})
        assert_indexed(indexer, transactions, client)
    assert query("SELECT DISTINCT user_id FROM clickstream_events") == [("b",)]
    assert query("SELECT * FROM search_refused_documents") == []
    assert query("SELECT * FROM session_changes") == []
    assert len(client.indices.get(index="clickstream-events-*")) == 1
    assert verify_sessions(transactions).differences.number == 0
    batches.acquire()
    batches.store([[event("b", 60)], []])
    assert verify_sessions(transactions).differences.number == 0
