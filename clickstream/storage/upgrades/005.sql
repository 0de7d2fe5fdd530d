-- From schema version 4 to 5.

-- The id of a partition's owner in its consumer group.
ALTER TABLE stream_positions
    ADD COLUMN IF NOT EXISTS member_id text;

INSERT INTO schema_version (version) VALUES (5) ON CONFLICT DO NOTHING;
