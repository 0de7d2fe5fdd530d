"""The session cache and its statements: one consumer alone has no conflicts, and reads no table."""

from clickstream.clients.postgres import Connection
from clickstream.consumer.storing_connection import PREPARE
from clickstream.storage import session_table
from tests.services.batches import Batches
from tests.services.oracle import check_sessions
from tests.services.records import event

INSERT_SESSIONS = """
    INSERT INTO session_metrics
        (session_id, user_id, total_events, event_type_counts, first_event_timestamp,
         last_event_timestamp, first_event_id, last_event_id, unique_pages, unique_pages_count,
         total_revenue, orders_count, products_viewed, products_viewed_count, search_queries,
         referrers, unique_referrers_count, is_bounce)
    SELECT gen_random_uuid(), n, 1, '{}', now(), now(), id, id, '[]', 0, 0, 0, '[]', 0, '[]', '[]',
           0, true
    FROM generate_series(1, 20000) AS n, gen_random_uuid() AS id
"""
STAGE_SESSIONS = """
    INSERT INTO stage_sessions (session_id) SELECT session_id FROM session_metrics LIMIT 5000
"""


def test_events_before_the_cached_session_are_no_conflict(
    batches: Batches, transactions: Connection
) -> None:
    """They are refolded at once. If they were folded, the session would change its id."""
    for seconds in (7_200, 7_100, 3_600, 0):
        batches.store([[event("v", seconds)]])
        check_sessions(transactions, timeout=1_800)
    assert batches.conflicts == []


def test_changed_sessions_are_updated_by_their_keys_however_many_are_stored(
    transactions: Connection,
) -> None:
    """Reading all sessions in each batch would slow down the consumer as the table grows."""
    with transactions, transactions.cursor() as cursor:
        cursor.execute(PREPARE)
        cursor.execute(INSERT_SESSIONS)
        cursor.execute("ANALYZE session_metrics")
        cursor.execute(session_table.CREATE_STAGE_AND_SELECT_XID)
        cursor.execute(STAGE_SESSIONS)
        cursor.execute("EXPLAIN " + session_table.UPDATE_UNCHANGED)
        plan = "\n".join(line for (line,) in cursor)
    assert "Index Scan using session_metrics_pkey" in plan
    assert "Seq Scan on session_metrics" not in plan
