"""The address of each server, as error messages and log lines name it."""

from clickstream.settings import Settings


def kafka_address(settings: Settings) -> str:
    """Return "Kafka at HOST:PORT", with all bootstrap servers."""
    return f"Kafka at {settings.kafka_bootstrap_servers}"


def postgres_address(settings: Settings) -> str:
    """Return "PostgreSQL at HOST:PORT, database NAME"."""
    server = f"{settings.postgres_host}:{settings.postgres_port}"
    return f"PostgreSQL at {server}, database {settings.postgres_database}"


def opensearch_address(settings: Settings) -> str:
    """Return "OpenSearch at HOST:PORT"."""
    return f"OpenSearch at {settings.opensearch_host}:{settings.opensearch_port}"
