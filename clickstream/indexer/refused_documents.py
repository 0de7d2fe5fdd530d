"""Documents that OpenSearch refused for their content: recorded, listed, and indexed again."""

from collections.abc import Iterable
from datetime import datetime

from psycopg2.extras import execute_values

from clickstream.clients.postgres import Cursor, only_row
from clickstream.indexer.bulk import Document, Refusal
from clickstream.indexer.documents import IS_EVENT_OF_DOCUMENT
from clickstream.indexer.index_names import IndexNames

COUNT_REFUSED = "SELECT count(*) FROM search_refused_documents"
ANY_REFUSED = "SELECT EXISTS (SELECT FROM search_refused_documents)"
SELECT_NEWEST_REFUSED = """
    SELECT refused_at, index_name, document_id, status, reason FROM search_refused_documents
    ORDER BY refused_at DESC, index_name, document_id
    LIMIT %(limit)s
"""
SELECT_REFUSED_AMONG = """
    SELECT index_name, document_id FROM search_refused_documents
    WHERE document_id = ANY (%(ids)s)
"""
DELETE_REFUSED = """
    DELETE FROM search_refused_documents AS r USING (VALUES %s) AS sent (index_name, document_id)
    WHERE (r.index_name, r.document_id) = (sent.index_name, sent.document_id)
"""
UPSERT_REFUSED = """
    INSERT INTO search_refused_documents (index_name, document_id, status, reason) VALUES %s
    ON CONFLICT (index_name, document_id) DO UPDATE
    SET status = excluded.status, reason = excluded.reason, refused_at = now()
"""
# The indexer sends what has changed, so this records each refused document as changed.
RECORD_REFUSED_AS_CHANGED = f"""
    WITH events AS MATERIALIZED (
        SELECT document_id FROM search_refused_documents WHERE index_name <> %(session_index)s),
    sessions AS MATERIALIZED (
        SELECT document_id::uuid AS session_id
        FROM search_refused_documents WHERE index_name = %(session_index)s)
    INSERT INTO session_changes (user_id, from_time, to_time, regrouped)
    SELECT user_id, first_event_timestamp, last_event_timestamp, false
    FROM sessions JOIN session_metrics USING (session_id)
    UNION ALL
    SELECT e.user_id, e.event_time, e.event_time, true
    FROM events JOIN clickstream_events e ON {IS_EVENT_OF_DOCUMENT.format(id="document_id")}
"""  # noqa: S608 - built of constants


def count(cursor: Cursor) -> int:
    """Return the number of refused documents."""
    cursor.execute(COUNT_REFUSED)
    return int(only_row(cursor)[0])


def any_recorded(cursor: Cursor) -> bool:
    """Return True if a document is recorded as refused."""
    cursor.execute(ANY_REFUSED)
    return bool(only_row(cursor)[0])


def recorded_among(cursor: Cursor, documents: Iterable[Document]) -> set[Document]:
    """Return the given documents that are recorded as refused."""
    wanted = set(documents)
    if not wanted:
        return wanted
    cursor.execute(SELECT_REFUSED_AMONG, {"ids": [each.document_id for each in wanted]})
    return wanted & {Document(*row) for row in cursor}


def newest(cursor: Cursor, limit: int) -> list[tuple[datetime, str, str, int, str]]:
    """Return time, index, document id, status and reason of the newest refusals."""
    cursor.execute(SELECT_NEWEST_REFUSED, {"limit": limit})
    return list(cursor.fetchall())


def record(cursor: Cursor, sent: Iterable[Document], refusals: Iterable[Refusal]) -> None:
    """Delete the records of the documents that were sent, and store the new refusals."""
    execute_values(cursor, DELETE_REFUSED, sorted(set(sent)), template="(%s, %s)")
    latest = {refusal[:2]: refusal for refusal in refusals}
    execute_values(cursor, UPSERT_REFUSED, [latest[key] for key in sorted(latest)])


def send_again(cursor: Cursor, names: IndexNames) -> None:
    """Make the indexer send all refused documents again, with their content at that time."""
    cursor.execute(RECORD_REFUSED_AS_CHANGED, names.query_parameters)
