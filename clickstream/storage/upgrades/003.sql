-- From schema version 2 to 3: repaired values, removed records, the reading, and sessions that two
-- consumers may change at once.
-- No statement rewrites a table: a column without a default, or with one that is not volatile, is
-- metadata.

ALTER TABLE clickstream_events
    ADD COLUMN IF NOT EXISTS repaired text[];
ALTER TABLE session_metrics
    ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE stream_positions
    ADD COLUMN IF NOT EXISTS removed bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS cluster_id text;
ALTER TABLE search_cursor
    ADD COLUMN IF NOT EXISTS announced bigint;
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

CREATE TABLE IF NOT EXISTS record_reading (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    event_fields      text        NOT NULL,
    event_types       text        NOT NULL,
    min_event_time    timestamptz NOT NULL,
    renamed_fields    text[]      NOT NULL DEFAULT '{}'
);

CREATE TABLE IF NOT EXISTS report_settings (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    time_zone         text        NOT NULL
);
INSERT INTO report_settings (time_zone) VALUES ('UTC') ON CONFLICT DO NOTHING;

-- The view of version 2 has the column xid, which CREATE OR REPLACE VIEW cannot take away.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = to_regclass('events_with_session') AND attname = 'xid') THEN
        DROP VIEW events_with_session;
    END IF;
END
$$;

INSERT INTO schema_version (version) VALUES (3) ON CONFLICT DO NOTHING;
