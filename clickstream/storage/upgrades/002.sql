-- From schema version 1 to 2: the change log says what changed, and a backfill can be resumed.

ALTER TABLE session_changes
    ADD COLUMN IF NOT EXISTS regrouped  boolean     NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS removed    uuid[]      NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE search_cursor
    ADD COLUMN IF NOT EXISTS filled_time timestamptz,
    ADD COLUMN IF NOT EXISTS filled_id   uuid;

INSERT INTO schema_version (version) VALUES (2) ON CONFLICT DO NOTHING;
