"""Connections to OpenSearch."""

from opensearchpy import OpenSearch

from clickstream.settings import Settings

REQUEST_TIMEOUT_SECONDS = 30
# That threads may keep at a time.
CONNECTIONS = 4


def connect(settings: Settings) -> OpenSearch:
    """A client; it connects with its first request and does not retry by itself.

    Without OPENSEARCH_CAFILE the server's certificate is checked against the public ones.
    """
    user = (settings.opensearch_user, settings.opensearch_password)
    return OpenSearch(
        hosts=[{"host": settings.opensearch_host, "port": settings.opensearch_port}],
        use_ssl=settings.opensearch_use_ssl,
        ca_certs=settings.opensearch_cafile or None,
        http_auth=user if settings.opensearch_user else None,
        timeout=REQUEST_TIMEOUT_SECONDS,
        max_retries=0,
        pool_maxsize=CONNECTIONS,
    )
