"""Documents made by PostgreSQL itself, as lines of a bulk request that are ready to be sent.

A row is the index, the document's id, and the lines: the first says what to do with the document
under which version, the second is the document (a delete has none). Lines of more than LARGE_BYTES
are left out, to be read alone. A document has the fields of templates.py, and none for what is
NULL. Its version is a transaction id before which everything was visible when it was read: what
changed later comes with a higher one, so that a request which arrives late does no harm.
"""

from clickstream.model.events import COLUMNS as EVENT_COLUMNS
from clickstream.model.sessions import COLUMNS as SESSION_COLUMNS

EVENTS = "clickstream-events"
SESSIONS = "clickstream-sessions"
# A larger one is read alone: the text of jsonb may be fifty times as long as what was sent.
LARGE_BYTES = 256 << 10
# Between the name of an index and the token of a filling stands this, in the name of an alias.
ALIAS_MARK = ".w-"

# ISO 8601 as producers write it.
_UTC = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def _object(fields: dict[str, str]) -> str:
    """SQL of a JSON object with these fields; the first is never NULL, others may be left out."""
    first, *others = (
        f"""'"{name}":' || to_json({value})::text""" for name, value in fields.items()
    )
    return ", ".join(["'{'", first, *(f"',' || {other}" for other in others), "'}'"])


def _line(action: str, index: str, document_id: str, document: str | None = None) -> str:
    """SQL of the lines for one document."""
    parts = [
        f"""'{{"{action}":{{"_index":"', {index}, %(alias_suffix)s, '","_id":"', {document_id},
            '","version":', %(version)s, ',"version_type":"external_gte"}}}}'"""
    ]
    return f"concat({', '.join([*parts, *(['chr(10)', document] if document else [])])})"


_EVENT_FIELDS = {
    "event_id": "e.event_id",
    "session_id": "s.session_id",
    "timestamp": _UTC.format("e.event_time"),
    **{name: f"e.{name}" for name in EVENT_COLUMNS if name not in {"event_id", "event_time"}},
    "ip_address": "host(e.ip_address)",
}
_SESSION_FIELDS = {
    **{name: f"m.{name}" for name in (*SESSION_COLUMNS, "session_duration_minutes")},
    **{
        name: _UTC.format(f"m.{name}")
        for name in ("first_event_timestamp", "last_event_timestamp", "closed_at")
    },
    "ip_address": "host(m.ip_address)",
}
# By month, chosen from the event alone; odd times must not make an index each.
_EVENT_INDEX = f"""
    '{EVENTS}-' || CASE WHEN e.event_time >= '2020-01-01 00:00:00+00'
        THEN to_char(e.event_time AT TIME ZONE 'UTC', 'YYYY.MM') ELSE 'older' END
"""
# The same event id may stand at two times.
_EVENT_DOCUMENT_ID = "e.event_id || ':' || (extract(epoch FROM e.event_time) * 1000000)::bigint"

# The way back from an id; seconds and microseconds apart stay exact.
IS_EVENT_OF = """
    e.event_id = split_part({id}, ':', 1)::uuid
    AND e.event_time = to_timestamp(0)
        + split_part({id}, ':', 2)::bigint / 1000000 * interval '1 second'
        + split_part({id}, ':', 2)::bigint %% 1000000 * interval '1 microsecond'
"""
# Those of some documents that there should be, and in which index.
EVENTS_THERE = f"""
    SELECT {_EVENT_INDEX}, id FROM unnest(%(ids)s::text[]) AS id
    JOIN clickstream_events e ON {IS_EVENT_OF.format(id="id")}
"""  # noqa: S608 - built of constants
SESSIONS_THERE = f"""
    SELECT '{SESSIONS}', session_id::text FROM session_metrics
    WHERE session_id = ANY (%(ids)s::uuid[])
"""  # noqa: S608 - built of constants

# Sessions divide a visitor's events, so the last one that began before an event has it.
_SESSION_OF_EVENT = """
    LEFT JOIN LATERAL (
        SELECT session_id FROM session_metrics
        WHERE user_id = e.user_id
          AND (first_event_timestamp, first_event_id) <= (e.event_time, e.event_id)
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1) AS s ON true
"""
_EVENT_LINES = f"""
    SELECT {_EVENT_INDEX} AS index_name, s.session_id, {_EVENT_DOCUMENT_ID} AS document_id,
           {_line("index", _EVENT_INDEX, _EVENT_DOCUMENT_ID, _object(_EVENT_FIELDS))} AS lines
    FROM events e {_SESSION_OF_EVENT}
"""  # noqa: S608 - built of constants
_SESSION_LINES = f"""
    SELECT '{SESSIONS}' AS index_name, m.session_id::text AS document_id,
           {_line("index", f"'{SESSIONS}'", "m.session_id", _object(_SESSION_FIELDS))} AS lines
    FROM session_metrics m
"""  # noqa: S608 - built of constants
_SMALL_LINES = f"""
    SELECT index_name, document_id,
           CASE WHEN octet_length(lines) <= {LARGE_BYTES} THEN lines END FROM {{table}}
"""  # noqa: S608 - built of constants

# Everything that transactions from %(start)s on and before %(end)s changed. An event that is both
# new and regrouped comes once. Lines are made as they are read: no step fills PostgreSQL's disk.
CHANGED = f"""
    WITH changes AS MATERIALIZED (
        SELECT user_id, from_time, to_time, regrouped, removed
        FROM session_changes WHERE xid >= %(start)s::xid8 AND xid < %(end)s::xid8
    ),
    stretches AS (
        SELECT user_id, unnest(range_agg(tstzrange(from_time, to_time, '[]'))) AS stretch
        FROM changes WHERE regrouped GROUP BY user_id
    ),
    events AS NOT MATERIALIZED (
        SELECT * FROM clickstream_events WHERE xid >= %(start)s::xid8 AND xid < %(end)s::xid8
        UNION ALL
        SELECT e.*
        FROM stretches c
        JOIN clickstream_events e
          ON e.user_id = c.user_id AND e.event_time BETWEEN lower(c.stretch) AND upper(c.stretch)
        WHERE NOT (e.xid >= %(start)s::xid8 AND e.xid < %(end)s::xid8)
    ),
    documents AS ({_EVENT_LINES}),
    sessions AS (
        {_SESSION_LINES}
        WHERE m.session_id IN (
            SELECT s.session_id FROM events e {_SESSION_OF_EVENT}
            UNION
            SELECT m.session_id
            FROM changes c
            JOIN session_metrics m
              ON m.user_id = c.user_id
             AND m.first_event_timestamp BETWEEN c.from_time AND c.to_time))
    {_SMALL_LINES.format(table="documents")}
    UNION ALL
    {_SMALL_LINES.format(table="sessions")}
    UNION ALL
    SELECT '{SESSIONS}', gone.session_id::text,
           {_line("delete", f"'{SESSIONS}'", "gone.session_id")}
    FROM (SELECT DISTINCT unnest(removed) AS session_id FROM changes) AS gone
    WHERE NOT EXISTS (SELECT FROM session_metrics m WHERE m.session_id = gone.session_id)
"""  # noqa: S608 - built of constants

# The events behind one key and up to another, and the sessions that begin there.
STORED = f"""
    WITH events AS (
        SELECT * FROM clickstream_events
        WHERE (event_time, event_id) > (%(after_time)s::timestamptz, %(after_id)s::uuid)
          AND (event_time, event_id) <= (%(to_time)s::timestamptz, %(to_id)s::uuid)
    ),
    documents AS ({_EVENT_LINES}),
    sessions AS (
        {_SESSION_LINES}
        WHERE (first_event_timestamp, first_event_id)
            > (%(after_time)s::timestamptz, %(after_id)s::uuid)
          AND (first_event_timestamp, first_event_id)
            <= (%(to_time)s::timestamptz, %(to_id)s::uuid))
    {_SMALL_LINES.format(table="documents")}
    UNION ALL
    {_SMALL_LINES.format(table="sessions")}
"""  # noqa: S608 - built of constants

# A large one.
ONE_EVENT = f"""
    WITH events AS (SELECT e.* FROM clickstream_events e WHERE {IS_EVENT_OF.format(id="%(id)s")})
    SELECT lines FROM ({_EVENT_LINES}) AS documents
"""  # noqa: S608 - built of constants
ONE_SESSION = f"""
    SELECT lines FROM ({_SESSION_LINES} WHERE m.session_id = %(id)s::uuid) AS documents
"""  # noqa: S608 - built of constants
