"""Connections to Kafka, PostgreSQL and OpenSearch."""
