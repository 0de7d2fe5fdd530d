"""The address of each server and the source of the address, for errors and log lines."""

from clickstream.settings import Settings


def kafka_address(settings: Settings) -> str:
    """Return "Kafka at HOST:PORT (SOURCE)", with all bootstrap servers."""
    servers = settings.kafka_bootstrap_servers
    return f"Kafka at {servers}{_source(settings, 'KAFKA_BOOTSTRAP_SERVERS')}"


def postgres_address(settings: Settings) -> str:
    """Return "PostgreSQL at HOST:PORT (SOURCE), database NAME"."""
    server = host_and_port(settings.postgres_host, settings.postgres_port)
    server += _source(settings, "POSTGRES_HOST")
    return f"PostgreSQL at {server}, database {settings.postgres_database}"


def opensearch_address(settings: Settings) -> str:
    """Return "OpenSearch at HOST:PORT (SOURCE)"."""
    server = host_and_port(settings.opensearch_host, settings.opensearch_port)
    return f"OpenSearch at {server}{_source(settings, 'OPENSEARCH_HOST')}"


def host_and_port(host: str, port: int) -> str:
    """Return "HOST:PORT", with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _source(settings: Settings, name: str) -> str:
    """Return the source of a setting in parentheses; "" if it is unknown."""
    source = settings.origins.of(name)
    return f" ({source})" if source else ""
