"""OpenSearch as a view of what PostgreSQL has."""
