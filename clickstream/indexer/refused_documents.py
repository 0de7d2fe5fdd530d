"""Documents that OpenSearch refused for their content: listed, and sent again."""

from datetime import datetime

from clickstream.clients.postgres import Cursor, only_row
from clickstream.indexer.documents import IS_EVENT_OF, SESSIONS

COUNT = "SELECT count(*) FROM search_refused_documents"
NEWEST = """
    SELECT refused_at, index_name, document_id, status, reason FROM search_refused_documents
    ORDER BY refused_at DESC, index_name, document_id
    LIMIT %(limit)s
"""
# The indexer sends what changed, so these are said to have changed.
SEND_AGAIN = f"""
    WITH events AS MATERIALIZED (
        SELECT document_id FROM search_refused_documents WHERE index_name <> %(sessions)s),
    sessions AS MATERIALIZED (
        SELECT document_id::uuid AS session_id
        FROM search_refused_documents WHERE index_name = %(sessions)s)
    INSERT INTO session_changes (user_id, from_time, to_time, regrouped)
    SELECT user_id, first_event_timestamp, last_event_timestamp, false
    FROM sessions JOIN session_metrics USING (session_id)
    UNION ALL
    SELECT e.user_id, e.event_time, e.event_time, true
    FROM events JOIN clickstream_events e ON {IS_EVENT_OF.format(id="document_id")}
"""  # noqa: S608 - built of constants


def count(cursor: Cursor) -> int:
    """How many there are."""
    cursor.execute(COUNT)
    return int(only_row(cursor)[0])


def newest(cursor: Cursor, limit: int) -> list[tuple[datetime, str, str, int, str]]:
    """Time, index, id, status and reason of the newest ones."""
    cursor.execute(NEWEST, {"limit": limit})
    return list(cursor.fetchall())


def send_again(cursor: Cursor) -> None:
    """Let the indexer send all of them again, as they are now."""
    cursor.execute(SEND_AGAIN, {"sessions": SESSIONS})
