-- The tables of the clickstream pipeline. Applied by create_schema.py, any number of times.
-- PostgreSQL 14 or later; with the timescaledb extension, clickstream_events becomes a hypertable.
-- Text is compared and sorted by code point (COLLATE "C") wherever an order shows.

-- == Events: one row per event, however often it was delivered ==================================

CREATE TABLE IF NOT EXISTS clickstream_events (
    event_id          uuid        NOT NULL,
    event_time        timestamptz NOT NULL,               -- when it happened, by the visitor's clock
    event_type        text        NOT NULL,
    user_id           text        NOT NULL COLLATE "C",
    page_url          text        COLLATE "C",
    referrer          text        COLLATE "C",
    user_agent        text        COLLATE "C",
    ip_address        inet,
    device_type       text        COLLATE "C",
    country           text        COLLATE "C",
    city              text        COLLATE "C",
    success           boolean,                            -- of a login
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
    visit_id          text        COLLATE "C",            -- the producer's own idea of the visit
    properties        jsonb,                              -- every field that has no column
    stored_at         timestamptz NOT NULL DEFAULT now(),
    xid               xid8        NOT NULL DEFAULT pg_current_xact_id(),  -- the transaction that stored it

    -- Serves deduplication and time ranges; a hypertable needs event_time in every unique key.
    CONSTRAINT clickstream_events_key UNIQUE (event_time, event_id)
);

-- Serves the refolding of a visitor's stretch and the events of one session.
CREATE INDEX IF NOT EXISTS clickstream_events_visitor ON clickstream_events (user_id, event_time);
-- Serves the search follower: what was stored since its cursor.
CREATE INDEX IF NOT EXISTS clickstream_events_xid ON clickstream_events (xid);

-- == Sessions: at every commit what the session rule says of clickstream_events =================

CREATE TABLE IF NOT EXISTS session_metrics (
    session_id                uuid        PRIMARY KEY,    -- UUIDv5 of the visitor and the first event
    user_id                   text        NOT NULL COLLATE "C",
    total_events              bigint      NOT NULL,
    event_type_counts         jsonb       NOT NULL,       -- type -> number, the 1,000 smallest types
    first_event_timestamp     timestamptz NOT NULL,
    last_event_timestamp      timestamptz NOT NULL,
    first_event_id            uuid        NOT NULL,
    last_event_id             uuid        NOT NULL,
    session_duration_minutes  double precision NOT NULL GENERATED ALWAYS AS
        (EXTRACT(EPOCH FROM last_event_timestamp - first_event_timestamp)::double precision / 60) STORED,
    unique_pages              jsonb       NOT NULL,       -- distinct page_url, the 1,000 smallest
    unique_pages_count        integer     NOT NULL,       -- true up to 10,000, where it stops
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
    closed_at                 timestamptz,                -- a status: NULL while the session is open
    close_reason              text        CHECK (close_reason IN ('timeout', 'end_event')),
    CHECK ((closed_at IS NULL) = (close_reason IS NULL)),
    CHECK ((first_event_timestamp, first_event_id) <= (last_event_timestamp, last_event_id))
) WITH (fillfactor = 70);                                 -- room for HOT updates of open sessions

-- Serves a visitor's sessions around a time. The start of a session never changes, so updates stay HOT.
CREATE INDEX IF NOT EXISTS session_metrics_visitor
    ON session_metrics (user_id, first_event_timestamp, first_event_id);
-- Serves the report's time ranges and "latest sessions".
CREATE INDEX IF NOT EXISTS session_metrics_start ON session_metrics (first_event_timestamp);
-- Serves closing: finds the open sessions only.
CREATE INDEX IF NOT EXISTS session_metrics_open
    ON session_metrics (first_event_timestamp) WHERE closed_at IS NULL;

-- == Rejections: records that could not become an event =========================================

CREATE TABLE IF NOT EXISTS rejected_events (
    topic             text        NOT NULL,
    topic_id          text        NOT NULL,
    partition         integer     NOT NULL,
    "offset"          bigint      NOT NULL,
    reason            text        NOT NULL,               -- a code, e.g. not_json
    detail            text        NOT NULL,               -- one sentence
    key               bytea,
    value             bytea,
    record_timestamp  timestamptz,                        -- the record's own, as Kafka carries it
    rejected_at       timestamptz NOT NULL DEFAULT now(),
    -- One row per record of one log, however often it was delivered.
    PRIMARY KEY (topic_id, partition, "offset")
);

CREATE INDEX IF NOT EXISTS rejected_events_reason ON rejected_events (reason);

-- == Positions: what has been read, moved in the transaction that stores it ======================

CREATE TABLE IF NOT EXISTS stream_positions (
    topic             text        NOT NULL,
    partition         integer     NOT NULL,
    topic_id          text        NOT NULL,               -- the log that the position belongs to
    position          bigint      NOT NULL DEFAULT 0,     -- offset of the next record to read
    epoch             bigint      NOT NULL DEFAULT 0,     -- grows with each owner: the fence
    group_id          text,
    owner             text,                               -- host and process of the owner, for people
    owner_pid         integer,                            -- its PostgreSQL backend, and
    owner_start       timestamptz,                        -- when that backend started
    watermark         timestamptz,                        -- largest event time seen, up to now at most
    watermark_at      timestamptz,                        -- when the watermark last moved
    last_record_at    timestamptz,                        -- when a record was last stored
    caught_up_at      timestamptz,                        -- when the owner last saw the end of the log
    records           bigint      NOT NULL DEFAULT 0,     -- = rows + duplicates + rejected
    duplicates        bigint      NOT NULL DEFAULT 0,
    late              bigint      NOT NULL DEFAULT 0,     -- rows far behind the watermark
    rejected          bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
);

-- == The session rule that session_metrics follows ==============================================

CREATE TABLE IF NOT EXISTS session_rule (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    timeout_seconds   integer     NOT NULL CHECK (timeout_seconds > 0),
    start_events      text[]      NOT NULL,
    end_events        text[]      NOT NULL,
    version           bigint      NOT NULL                -- grows with each change
);

-- == Search: what the follower has to index again, and how far it is ============================

CREATE TABLE IF NOT EXISTS session_changes (
    xid               xid8        NOT NULL DEFAULT pg_current_xact_id(),
    user_id           text        NOT NULL COLLATE "C",
    from_time         timestamptz NOT NULL,
    to_time           timestamptz NOT NULL,
    regrouped         boolean     NOT NULL DEFAULT true,  -- whether events went to other sessions
    removed           uuid[]      NOT NULL DEFAULT '{}',  -- sessions that ceased to exist
    changed_at        timestamptz NOT NULL DEFAULT now()
);

-- Serves the follower and its pruning.
CREATE INDEX IF NOT EXISTS session_changes_xid ON session_changes (xid);

CREATE TABLE IF NOT EXISTS search_cursor (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    horizon           xid8        NOT NULL,               -- every transaction before it is indexed
    token             text        NOT NULL,               -- the same token stands in the index
    system_identifier text        NOT NULL,               -- of the database that was indexed
    moved_at          timestamptz NOT NULL DEFAULT now(),
    -- A new index is first filled in the order of the events' keys: up to this one; NULL when full.
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

-- == From version 1 ==============================================================================

ALTER TABLE session_changes
    ADD COLUMN IF NOT EXISTS regrouped  boolean     NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS removed    uuid[]      NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE search_cursor
    ADD COLUMN IF NOT EXISTS filled_time timestamptz,
    ADD COLUMN IF NOT EXISTS filled_id   uuid;

-- == Version of this file ======================================================================

CREATE TABLE IF NOT EXISTS schema_version (
    version           integer     PRIMARY KEY,
    applied_at        timestamptz NOT NULL DEFAULT now()
);

INSERT INTO schema_version (version) VALUES (2) ON CONFLICT DO NOTHING;

-- == Views for people ===========================================================================

-- Each event with its session. A session is an interval of the pair (event_time, event_id).
CREATE OR REPLACE VIEW events_with_session AS
SELECT e.*, s.session_id
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

-- Distinct sessions that reached each step of the shop's funnel.
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
