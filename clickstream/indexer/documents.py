"""SQL that builds the documents, as actions of a bulk request that are ready to be sent.

Each row has the name of the index, True if the action deletes the document, the action, and the
document's id if the action is longer than LARGE_ACTION_BYTES. Such an action is NULL, and the
document is read alone. An action is one line with the operation and the document's id, and one line
with the document itself (a delete has none). A document has the fields of templates.py, without
those that are NULL.

The parameters event_index and session_index are names of IndexNames.

The version of a document is a transaction id: all transactions before it were visible when the
document was read. A later change gets a higher version, so a request that arrives late cannot
overwrite it.
"""

from clickstream.model.events import EVENT_COLUMNS
from clickstream.model.sessions import SESSION_COLUMNS
from clickstream.storage.change_log import EVENT_DOCUMENT_ID

# The text of a jsonb value may be fifty times as long as what the producer sent.
LARGE_ACTION_BYTES = 32 << 10
# Separates the name of the index from the token of the backfill in the name of an alias.
ALIAS_MARK = ".w-"

# At the end of a subquery: PostgreSQL computes its columns once for each row, instead of once for
# each use of them.
_COMPUTED_ONCE = "OFFSET 0"
# ISO 8601 as producers write it.
_UTC = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def _object(fields: dict[str, str]) -> str:
    """Return SQL of a JSON object with these fields, by name; only the first is never NULL."""
    first, *others = (
        f"""'"{name}":' || to_json({value})::text""" for name, value in fields.items()
    )
    return ", ".join(["'{'", first, *(f"',' || {other}" for other in others), "'}'"])


def _action(kind: str, index: str, document_id: str, document: str | None = None) -> str:
    """Return SQL of the action for one document; all arguments but the kind are SQL."""
    parts = [
        f"""'{{"{kind}":{{"_index":"', {index}, %(alias_suffix)s, '","_id":"', {document_id},
            '","version":', %(version)s, ',"version_type":"external_gte"}}}}'"""
    ]
    return f"concat({', '.join([*parts, *(['chr(10)', document] if document else [])])})"


_EVENT_FIELDS = {
    "event_id": "e.event_id",
    "session_id": "e.session_id",
    "timestamp": _UTC.format("e.event_time"),
    **{name: f"e.{name}" for name in EVENT_COLUMNS if name not in {"event_id", "event_time"}},
    "ip_address": "host(e.ip_address)",
    "ingest_delay_seconds": "round(extract(epoch FROM e.stored_at - e.event_time), 3)",
}
_SESSION_FIELDS = {
    **{name: f"m.{name}" for name in (*SESSION_COLUMNS, "session_duration_minutes")},
    **{
        name: _UTC.format(f"m.{name}")
        for name in ("first_event_timestamp", "last_event_timestamp", "closed_at")
    },
    "ip_address": "host(m.ip_address)",
}
# The index of an event, one per month. It depends on the event alone. Times before 2020 share one
# index, so that wrong clocks do not create one for each month.
_EVENT_INDEX = """
    %(event_index)s || '-' || CASE WHEN e.event_time >= '2020-01-01 00:00:00+00'
        THEN to_char(e.event_time AT TIME ZONE 'UTC', 'YYYY.MM') ELSE 'older' END
"""
# The time of the event of a document id. Adding seconds and microseconds separately keeps it exact.
_EVENT_TIME_OF_DOCUMENT = """
    to_timestamp(0)
        + split_part({id}, ':', 2)::bigint / 1000000 * interval '1 second'
        + split_part({id}, ':', 2)::bigint %% 1000000 * interval '1 microsecond'
"""
# The event of a document id.
IS_EVENT_OF_DOCUMENT = f"""
    e.event_id = split_part({{id}}, ':', 1)::uuid
    AND e.event_time = {_EVENT_TIME_OF_DOCUMENT}
"""
# Those of the document ids that have an event in PostgreSQL, with their indexes.
SELECT_STORED_EVENT_IDS = f"""
    SELECT {_EVENT_INDEX}, id FROM unnest(%(ids)s::text[]) AS id
    JOIN clickstream_events e ON {IS_EVENT_OF_DOCUMENT.format(id="id")}
"""  # noqa: S608 - built of constants
# Those of the document ids that have a session in PostgreSQL, with their index.
SELECT_STORED_SESSION_IDS = """
    SELECT %(session_index)s, session_id::text FROM session_metrics
    WHERE session_id = ANY (%(ids)s::uuid[])
"""

# Sessions partition a visitor's events, so an event belongs to the last one that began before it.
_SESSION_OF_EVENT = """
    LEFT JOIN LATERAL (
        SELECT session_id FROM session_metrics
        WHERE user_id = e.user_id
          AND (first_event_timestamp, first_event_id) <= (e.event_time, e.event_id)
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1) AS s ON true
"""
_EVENT_ACTIONS = f"""
    SELECT index_name, document_id,
           {_action("index", "index_name", "document_id", _object(_EVENT_FIELDS))} AS action
    FROM (SELECT e.*, s.session_id,
                 {_EVENT_INDEX} AS index_name, {EVENT_DOCUMENT_ID} AS document_id
          FROM events e {_SESSION_OF_EVENT} {_COMPUTED_ONCE}) AS e
"""  # noqa: S608 - built of constants
_SESSION_ACTIONS = f"""
    SELECT %(session_index)s AS index_name, m.session_id::text AS document_id,
           {_action("index", "%(session_index)s", "m.session_id", _object(_SESSION_FIELDS))}
               AS action
    FROM session_metrics m
"""  # noqa: S608 - built of constants
_WITHOUT_LARGE_ACTIONS = f"""
    SELECT index_name, false AS is_delete,
           CASE WHEN octet_length(action) <= {LARGE_ACTION_BYTES} THEN action END,
           CASE WHEN octet_length(action) > {LARGE_ACTION_BYTES} THEN document_id END
    FROM (SELECT index_name, document_id, action FROM {{table}} {_COMPUTED_ONCE}) AS computed
"""  # noqa: S608 - built of constants

# One row if the event of a document id is stored. Because of LIMIT, PostgreSQL looks up one event
# after the other, and never reads the whole table to compare it with a few ids.
_IS_STORED = f"""
    SELECT true AS is_stored FROM clickstream_events AS e
    WHERE {IS_EVENT_OF_DOCUMENT} LIMIT 1
"""  # noqa: S608 - built of constants
# Everything that transactions from %(start)s on and before %(end)s changed. An event that is new
# and has also moved to another session is returned once. Actions are built while they are read, so
# no step fills PostgreSQL's disk.
SELECT_CHANGED_DOCUMENTS = f"""
    WITH changes AS MATERIALIZED (
        SELECT user_id, from_time, to_time, regrouped, removed, removed_events
        FROM session_changes WHERE xid >= %(start)s::xid8 AND xid < %(end)s::xid8
    ),
    regrouped_ranges AS (
        SELECT user_id, unnest(range_agg(tstzrange(from_time, to_time, '[]'))) AS times
        FROM changes WHERE regrouped GROUP BY user_id
    ),
    events AS NOT MATERIALIZED (
        SELECT * FROM clickstream_events WHERE xid >= %(start)s::xid8 AND xid < %(end)s::xid8
        UNION ALL
        SELECT e.*
        FROM regrouped_ranges r
        JOIN clickstream_events e
          ON e.user_id = r.user_id AND e.event_time BETWEEN lower(r.times) AND upper(r.times)
        WHERE NOT (e.xid >= %(start)s::xid8 AND e.xid < %(end)s::xid8)
    ),
    documents AS ({_EVENT_ACTIONS}),
    sessions AS (
        {_SESSION_ACTIONS}
        WHERE m.session_id IN (
            SELECT s.session_id FROM events e {_SESSION_OF_EVENT}
            UNION
            SELECT m.session_id
            FROM changes c
            JOIN session_metrics m
              ON m.user_id = c.user_id
             AND m.first_event_timestamp BETWEEN c.from_time AND c.to_time))
    {_WITHOUT_LARGE_ACTIONS.format(table="documents")}
    UNION ALL
    {_WITHOUT_LARGE_ACTIONS.format(table="sessions")}
    UNION ALL
    SELECT %(session_index)s, true,
           {_action("delete", "%(session_index)s", "gone.session_id")}, NULL
    FROM (SELECT DISTINCT unnest(removed) AS session_id FROM changes) AS gone
    WHERE NOT EXISTS (SELECT FROM session_metrics m WHERE m.session_id = gone.session_id)
    UNION ALL
    SELECT {_EVENT_INDEX}, true, {_action("delete", _EVENT_INDEX, "e.document_id")}, NULL
    FROM (SELECT document_id, {_EVENT_TIME_OF_DOCUMENT.format(id="document_id")} AS event_time
          FROM changes, unnest(removed_events) AS document_id) AS e
    LEFT JOIN LATERAL ({_IS_STORED.format(id="document_id")}) AS stored ON true
    WHERE stored.is_stored IS NULL
"""  # noqa: S608 - built of constants

# The events after one key up to and including another, and the sessions that begin there.
SELECT_DOCUMENTS_OF_KEY_RANGE = f"""
    WITH events AS (
        SELECT * FROM clickstream_events
        WHERE (event_time, event_id) > (%(after_time)s::timestamptz, %(after_id)s::uuid)
          AND (event_time, event_id) <= (%(to_time)s::timestamptz, %(to_id)s::uuid)
    ),
    documents AS ({_EVENT_ACTIONS}),
    sessions AS (
        {_SESSION_ACTIONS}
        WHERE (first_event_timestamp, first_event_id)
            > (%(after_time)s::timestamptz, %(after_id)s::uuid)
          AND (first_event_timestamp, first_event_id)
            <= (%(to_time)s::timestamptz, %(to_id)s::uuid))
    {_WITHOUT_LARGE_ACTIONS.format(table="documents")}
    UNION ALL
    {_WITHOUT_LARGE_ACTIONS.format(table="sessions")}
"""  # noqa: S608 - built of constants

# The action of one event, however long.
SELECT_EVENT_DOCUMENT = f"""
    WITH events AS (
        SELECT e.* FROM clickstream_events e
        WHERE {IS_EVENT_OF_DOCUMENT.format(id="%(id)s")})
    SELECT action FROM ({_EVENT_ACTIONS}) AS documents
"""  # noqa: S608 - built of constants
# The action of one session, however long.
SELECT_SESSION_DOCUMENT = f"""
    SELECT action FROM ({_SESSION_ACTIONS} WHERE m.session_id = %(id)s::uuid) AS documents
"""  # noqa: S608 - built of constants
