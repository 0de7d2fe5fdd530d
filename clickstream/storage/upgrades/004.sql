-- From schema version 3 to 4.

INSERT INTO schema_version (version) VALUES (4) ON CONFLICT DO NOTHING;
