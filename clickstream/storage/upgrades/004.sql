-- From schema version 3 to 4.

-- The referrer of a session's entry, and the time of attention.
ALTER TABLE clickstream_events
    ADD COLUMN IF NOT EXISTS engaged_ms integer;
ALTER TABLE session_metrics
    ADD COLUMN IF NOT EXISTS entry_referrer text COLLATE "C",
    ADD COLUMN IF NOT EXISTS engaged_seconds numeric(20, 3);
-- No stored event has engaged_ms, so engaged_seconds is NULL. entry_referrer is looked up, unless all
-- sessions have to be rebuilt anyway. The change log makes the documents follow, if there is a
-- checkpoint to log for.
WITH entries AS (
    SELECT s.session_id, entry.referrer
    FROM session_metrics s
    CROSS JOIN LATERAL (
        SELECT e.referrer FROM clickstream_events e
        WHERE e.user_id = s.user_id
          AND e.event_time BETWEEN s.first_event_timestamp AND s.last_event_timestamp
          AND (e.event_time, e.event_id) BETWEEN (s.first_event_timestamp, s.first_event_id)
                                             AND (s.last_event_timestamp, s.last_event_id)
          AND e.page_url IS NOT NULL
        ORDER BY e.event_time, e.event_id LIMIT 1) AS entry
    WHERE s.landing_page IS NOT NULL AND s.referrers <> '[]' AND entry.referrer IS NOT NULL
      AND EXISTS (SELECT FROM session_rule WHERE metrics_version = 2)
),
changed AS (
    UPDATE session_metrics s SET entry_referrer = entries.referrer, xid = pg_current_xact_id()
    FROM entries WHERE s.session_id = entries.session_id
    RETURNING s.user_id, s.first_event_timestamp, s.last_event_timestamp
)
INSERT INTO session_changes (user_id, from_time, to_time, regrouped)
SELECT user_id, first_event_timestamp, last_event_timestamp, false
FROM changed
WHERE EXISTS (SELECT FROM search_cursor WHERE moved_at > now() - interval '7 days');
-- With many changes a backfill of the index is better: it is done in small steps.
DELETE FROM search_cursor
WHERE (SELECT count(*) FROM session_changes WHERE xid = pg_current_xact_id()) > 20000;
-- The new version of the metrics also stops consumers of version 3, which do not write the columns.
UPDATE session_rule SET metrics_version = 3 WHERE metrics_version = 2;

-- Retention: the time from which events are kept; the documents of events that were removed.
CREATE TABLE IF NOT EXISTS event_retention (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    kept_from         timestamptz NOT NULL,
    removed_before    timestamptz NOT NULL,
    CHECK (removed_before <= kept_from)
);
ALTER TABLE session_changes
    ADD COLUMN IF NOT EXISTS removed_events text[] NOT NULL DEFAULT '{}';

-- IP_ADDRESSES, and the ids of rejected events whose value was changed because of it.
ALTER TABLE record_reading
    ADD COLUMN IF NOT EXISTS ip_addresses text NOT NULL DEFAULT 'full';
ALTER TABLE rejected_events
    ADD COLUMN IF NOT EXISTS derived_event_id uuid;

-- Erased visitors.
CREATE TABLE IF NOT EXISTS erasure_keys (
    key               bytea       PRIMARY KEY,
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS erased_visitors (
    visitor_hash      bytea       PRIMARY KEY CHECK (octet_length(visitor_hash) = 32),
    erased_at         timestamptz NOT NULL DEFAULT now()
);

-- Settings of the views of sources; schema.sql adds their rows.
CREATE TABLE IF NOT EXISTS source_categories (
    source            text        PRIMARY KEY COLLATE "C" CHECK (source = lower(source)),
    category          text        NOT NULL COLLATE "C" CHECK (
        category IN ('search', 'social', 'shopping', 'video', 'ai_assistant', 'other')),
    name              text        COLLATE "C"
);

CREATE TABLE IF NOT EXISTS site_hosts (
    host              text        PRIMARY KEY COLLATE "C" CHECK (host ~ '^[a-z0-9._-]+$')
);

CREATE TABLE IF NOT EXISTS conversion_events (
    event_type        text        PRIMARY KEY COLLATE "C"
);

-- User agents. Those of stored events are parsed by: python -m clickstream user-agents refresh
CREATE TABLE IF NOT EXISTS user_agents (
    user_agent        text        NOT NULL COLLATE "C",
    browser           text,
    browser_version   text,
    os                text,
    os_version        text,
    device_type       text,
    is_bot            boolean     NOT NULL GENERATED ALWAYS AS (bot_reason IS NOT NULL) STORED,
    bot_reason        text,
    rules_version     text        NOT NULL,
    parsed_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_agents_key EXCLUDE USING hash (user_agent WITH =)
);

INSERT INTO schema_version (version) VALUES (4) ON CONFLICT DO NOTHING;
