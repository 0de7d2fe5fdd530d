-- From schema version 5 to 6: an index of order lines and repaired events, which create_schema.py
-- builds afterwards.

INSERT INTO schema_version (version) VALUES (6) ON CONFLICT DO NOTHING;
