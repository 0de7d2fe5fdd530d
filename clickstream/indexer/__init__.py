"""The indexer: keeps OpenSearch up to date with what PostgreSQL has committed."""
