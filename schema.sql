-- The tables of the clickstream pipeline, applied by create_schema.py. Each change here needs a new
-- version: tables and views of the version at the end of this file are left as they are.
-- PostgreSQL 14 or later; with the timescaledb extension, clickstream_events becomes a hypertable.
-- Columns with COLLATE "C" are compared and sorted by code point.

-- == Events: one row for each event, however often it was delivered =============================

CREATE TABLE IF NOT EXISTS clickstream_events (
    event_id          uuid        NOT NULL,
    event_time        timestamptz NOT NULL,               -- by the visitor's clock
    event_type        text        NOT NULL,
    user_id           text        NOT NULL COLLATE "C",
    page_url          text        COLLATE "C",
    referrer          text        COLLATE "C",
    user_agent        text        COLLATE "C",
    ip_address        inet,
    device_type       text        COLLATE "C",
    country           text        COLLATE "C",
    city              text        COLLATE "C",
    success           boolean,                            -- success of a login
    product_id        text        COLLATE "C",
    product_category  text        COLLATE "C",
    price             numeric(14, 4),
    quantity          integer,
    order_id          text        COLLATE "C",
    search_query      text        COLLATE "C",
    element_id        text        COLLATE "C",
    viewport_size     text        COLLATE "C",
    article_id        text        COLLATE "C",
    article_category  text        COLLATE "C",
    visit_id          text        COLLATE "C",            -- the producer's own id of the visit
    properties        jsonb,                              -- fields without a column, and values as sent
    repaired          text[],                             -- fields whose value was lost or changed
    stored_at         timestamptz NOT NULL DEFAULT now(),
    xid               xid8        NOT NULL DEFAULT pg_current_xact_id(),  -- the transaction that stored it

    -- For deduplication and time ranges. A hypertable needs event_time in every unique key.
    CONSTRAINT clickstream_events_key UNIQUE (event_time, event_id)
);

-- For reading a visitor's events in a range of time: to refold them, or to show a session.
CREATE INDEX IF NOT EXISTS clickstream_events_visitor ON clickstream_events (user_id, event_time);
-- For the search indexer: the events stored after its checkpoint.
CREATE INDEX IF NOT EXISTS clickstream_events_xid ON clickstream_events (xid);

-- == Sessions: at every commit they follow from clickstream_events by the session rule ==========

CREATE TABLE IF NOT EXISTS session_metrics (
    session_id                uuid        PRIMARY KEY,    -- UUIDv5 of visitor and first event
    user_id                   text        NOT NULL COLLATE "C",
    total_events              bigint      NOT NULL,
    event_type_counts         jsonb       NOT NULL,       -- type -> number, of the smallest types
    first_event_timestamp     timestamptz NOT NULL,
    last_event_timestamp      timestamptz NOT NULL,
    first_event_id            uuid        NOT NULL,
    last_event_id             uuid        NOT NULL,
    session_duration_minutes  double precision NOT NULL GENERATED ALWAYS AS
        (EXTRACT(EPOCH FROM last_event_timestamp - first_event_timestamp)::double precision / 60) STORED,
    -- Arrays show the 1,000 smallest values, and of these as many as fit into 256 KiB of JSON.
    unique_pages              jsonb       NOT NULL,       -- distinct page_url
    unique_pages_count        integer     NOT NULL,       -- exact up to 10,000, which is its maximum
    landing_page              text        COLLATE "C",
    exit_page                 text        COLLATE "C",
    -- Wider than numeric(20,4), so that no sum of valid prices can stop the stream.
    total_revenue             numeric(38, 4) NOT NULL,
    orders_count              bigint      NOT NULL,
    products_viewed           jsonb       NOT NULL,
    products_viewed_count     integer     NOT NULL,
    search_queries            jsonb       NOT NULL,
    referrers                 jsonb       NOT NULL,
    unique_referrers_count    integer     NOT NULL,
    user_agent                text        COLLATE "C",
    ip_address                inet,
    device_type               text        COLLATE "C",
    country                   text        COLLATE "C",
    is_bounce                 boolean     NOT NULL,
    closed_at                 timestamptz,                -- a status; NULL while it is open
    close_reason              text        CHECK (close_reason IN ('timeout', 'end_event')),
    CHECK ((closed_at IS NULL) = (close_reason IS NULL)),
    CHECK ((first_event_timestamp, first_event_id) <= (last_event_timestamp, last_event_id))
) WITH (fillfactor = 70);                                 -- free space for HOT updates

-- For a visitor's sessions around a time. Updates stay HOT: an update never changes the start, as
-- another first event makes another session_id.
CREATE INDEX IF NOT EXISTS session_metrics_visitor
    ON session_metrics (user_id, first_event_timestamp, first_event_id);
-- For the report's time ranges and the latest sessions.
CREATE INDEX IF NOT EXISTS session_metrics_start ON session_metrics (first_event_timestamp);
-- For closing, which looks at open sessions only.
CREATE INDEX IF NOT EXISTS session_metrics_open
    ON session_metrics (first_event_timestamp) WHERE closed_at IS NULL;

-- == Rejected records: they could not become an event ===========================================

CREATE TABLE IF NOT EXISTS rejected_events (
    topic             text        NOT NULL,
    topic_id          text        NOT NULL,
    partition         integer     NOT NULL,
    "offset"          bigint      NOT NULL,
    reason            text        NOT NULL,               -- a code, such as not_json
    detail            text        NOT NULL,               -- one sentence
    key               bytea,
    value             bytea,
    record_timestamp  timestamptz,                        -- the record's timestamp in Kafka
    rejected_at       timestamptz NOT NULL DEFAULT now(),
    -- One row for each record, however often it was delivered.
    PRIMARY KEY (topic_id, partition, "offset")
);

-- For listing by reason.
CREATE INDEX IF NOT EXISTS rejected_events_reason ON rejected_events (reason);

-- == Positions: they move in the transaction that stores the records before them ================

CREATE TABLE IF NOT EXISTS stream_positions (
    topic             text        NOT NULL,
    partition         integer     NOT NULL,
    topic_id          text        NOT NULL,               -- another one if the topic is recreated
    position          bigint      NOT NULL DEFAULT 0,     -- offset of the next record to read
    epoch             bigint      NOT NULL DEFAULT 0,     -- grows with each owner (fencing)
    group_id          text,
    owner             text,                               -- host and process, for people
    owner_pid         integer,                            -- the owner's PostgreSQL backend
    owner_start       timestamptz,                        -- the start of that backend
    watermark         timestamptz,                        -- largest event time, up to now at most
    watermark_at      timestamptz,                        -- when the watermark last moved
    last_record_at    timestamptz,                        -- when a batch last had a record
    caught_up_at      timestamptz,                        -- when the end was last reached
    records           bigint      NOT NULL DEFAULT 0,     -- = events + duplicates + rejected + removed
    duplicates        bigint      NOT NULL DEFAULT 0,
    late              bigint      NOT NULL DEFAULT 0,     -- events far behind the watermark
    rejected          bigint      NOT NULL DEFAULT 0,
    removed           bigint      NOT NULL DEFAULT 0,     -- rejected records deleted by an operator
    PRIMARY KEY (topic, partition)
);

-- == The session rule that session_metrics follows ==============================================

CREATE TABLE IF NOT EXISTS session_rule (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    timeout_seconds   integer     NOT NULL CHECK (timeout_seconds > 0),
    start_events      text[]      NOT NULL,
    end_events        text[]      NOT NULL,
    version           bigint      NOT NULL,               -- grows with each change
    metrics_version   integer     NOT NULL DEFAULT 1      -- of the program that computed the metrics
);

-- == The reading: how records become events =====================================================

CREATE TABLE IF NOT EXISTS record_reading (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    event_fields      text        NOT NULL,               -- EVENT_FIELDS, in canonical form
    event_types       text        NOT NULL,               -- EVENT_TYPES, in canonical form
    min_event_time    timestamptz NOT NULL,
    -- Fields whose names changed after records had been read.
    renamed_fields    text[]      NOT NULL DEFAULT '{}'
);

-- == Search: the change log, the indexer's checkpoint and the documents that OpenSearch refused =

-- The change log: the indexer indexes these sessions and their events again.
CREATE TABLE IF NOT EXISTS session_changes (
    xid               xid8        NOT NULL DEFAULT pg_current_xact_id(),
    user_id           text        NOT NULL COLLATE "C",
    from_time         timestamptz NOT NULL,
    to_time           timestamptz NOT NULL,
    regrouped         boolean     NOT NULL DEFAULT true,  -- events moved to other sessions
    removed           uuid[]      NOT NULL DEFAULT '{}',  -- sessions that no longer exist
    changed_at        timestamptz NOT NULL DEFAULT now()
);

-- For reading and pruning by transaction.
CREATE INDEX IF NOT EXISTS session_changes_xid ON session_changes (xid);

-- The checkpoint of the search indexer.
CREATE TABLE IF NOT EXISTS search_cursor (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    horizon           xid8        NOT NULL,               -- earlier transactions are indexed
    token             text        NOT NULL,               -- the index holds the same token
    system_identifier text        NOT NULL,               -- of the indexed PostgreSQL cluster
    moved_at          timestamptz NOT NULL DEFAULT now(),
    -- The backfill goes in the order of the events' keys. The last key; NULL when it is finished.
    filled_time       timestamptz,
    filled_id         uuid
);

CREATE TABLE IF NOT EXISTS search_refused_documents (
    index_name        text        NOT NULL,
    document_id       text        NOT NULL,
    status            integer     NOT NULL,
    reason            text        NOT NULL,
    refused_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (index_name, document_id)
);

-- == Columns added since version 1 ==============================================================

ALTER TABLE session_changes
    ADD COLUMN IF NOT EXISTS regrouped  boolean     NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS removed    uuid[]      NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE search_cursor
    ADD COLUMN IF NOT EXISTS filled_time timestamptz,
    ADD COLUMN IF NOT EXISTS filled_id   uuid;

-- == Columns added since version 2 ==============================================================
-- None of them rewrites a table: a column without a default, or with a constant one, is metadata.

ALTER TABLE clickstream_events
    ADD COLUMN IF NOT EXISTS repaired text[];
ALTER TABLE stream_positions
    ADD COLUMN IF NOT EXISTS removed bigint NOT NULL DEFAULT 0;
ALTER TABLE session_rule
    ADD COLUMN IF NOT EXISTS metrics_version integer NOT NULL DEFAULT 1;
-- Metrics of version 2 show at most 256 KiB of an array or object. Mostly that is so already.
UPDATE session_rule SET metrics_version = 2
WHERE metrics_version = 1
  AND NOT EXISTS (
    SELECT FROM session_metrics
    WHERE 262144 < greatest(
        octet_length(unique_pages::text), octet_length(products_viewed::text),
        octet_length(search_queries::text), octet_length(referrers::text),
        octet_length(event_type_counts::text)));

-- == Version of this file =======================================================================

CREATE TABLE IF NOT EXISTS schema_version (
    version           integer     PRIMARY KEY,
    applied_at        timestamptz NOT NULL DEFAULT now()
);

INSERT INTO schema_version (version) VALUES (3) ON CONFLICT DO NOTHING;

-- == Views for people ===========================================================================

-- Each event with its session: an interval of (event_time, event_id), as event times can be equal.
CREATE OR REPLACE VIEW events_with_session AS
SELECT e.event_id, e.event_time, e.event_type, e.user_id, e.page_url, e.referrer, e.user_agent,
       e.ip_address, e.device_type, e.country, e.city, e.success, e.product_id, e.product_category,
       e.price, e.quantity, e.order_id, e.search_query, e.element_id, e.viewport_size, e.article_id,
       e.article_category, e.visit_id, e.properties, e.stored_at, e.xid, s.session_id,
       -- CREATE OR REPLACE VIEW accepts new columns at the end only.
       e.repaired
FROM clickstream_events e
JOIN session_metrics s
  ON s.user_id = e.user_id
 AND s.first_event_timestamp <= e.event_time
 AND s.last_event_timestamp >= e.event_time
 AND (e.event_time, e.event_id) BETWEEN (s.first_event_timestamp, s.first_event_id)
                                    AND (s.last_event_timestamp, s.last_event_id);

CREATE OR REPLACE VIEW open_sessions AS
SELECT session_id, user_id, first_event_timestamp, last_event_timestamp,
       session_duration_minutes, total_events, total_revenue, landing_page, exit_page
FROM session_metrics
WHERE closed_at IS NULL;

-- The number of sessions with each step of the shop's funnel.
CREATE OR REPLACE VIEW conversion_funnel AS
SELECT step, event_type, sessions,
       round(100.0 * sessions / nullif(max(sessions) OVER (), 0), 2) AS percent_of_largest
FROM (
    SELECT step, event_type, count(session_id) AS sessions
    FROM (VALUES (1, 'page_view'), (2, 'add_to_cart'), (3, 'purchase')) AS steps (step, event_type)
    LEFT JOIN session_metrics ON event_type_counts ? event_type
    GROUP BY step, event_type
) AS counted
ORDER BY step;

CREATE OR REPLACE VIEW hourly_traffic AS
SELECT date_trunc('hour', event_time, 'UTC') AS hour,
       count(*) AS events,
       count(DISTINCT user_id) AS visitors,
       coalesce(sum(price * coalesce(quantity, 1)) FILTER (WHERE event_type = 'purchase'), 0) AS revenue
FROM clickstream_events
GROUP BY 1
ORDER BY 1;
