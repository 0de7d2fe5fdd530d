"""Connections to OpenSearch."""

from base64 import b64encode

from opensearchpy import OpenSearch

from clickstream.errors import UsageError
from clickstream.settings import Settings

REQUEST_TIMEOUT_SECONDS = 30
# That threads may keep at a time.
CONNECTIONS = 4


def connect(settings: Settings) -> OpenSearch:
    """A client; it connects with its first request and does not retry by itself.

    Without OPENSEARCH_CAFILE the server's certificate is checked against the public ones.
    Raises UsageError for a host that cannot be one.
    """
    try:
        return OpenSearch(
            hosts=[{"host": settings.opensearch_host, "port": settings.opensearch_port}],
            use_ssl=settings.opensearch_use_ssl,
            ca_certs=settings.opensearch_cafile or None,
            headers=_credentials(settings),
            timeout=REQUEST_TIMEOUT_SECONDS,
            max_retries=0,
            pool_maxsize=CONNECTIONS,
        )
    except ValueError:
        raise UsageError(
            f"OPENSEARCH_HOST must be the name or address of a host (it is "
            f"{settings.opensearch_host!r})"
        ) from None


def _credentials(settings: Settings) -> dict[str, str]:
    """Basic authentication in UTF-8 (RFC 7617), which the client itself sends in Latin-1."""
    if not settings.opensearch_user:
        return {}
    pair = f"{settings.opensearch_user}:{settings.opensearch_password}".encode()
    return {"Authorization": f"Basic {b64encode(pair).decode()}"}
