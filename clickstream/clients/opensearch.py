"""Connections to OpenSearch."""

from base64 import b64encode

from opensearchpy import OpenSearch

from clickstream.errors import UsageError
from clickstream.settings import Settings

REQUEST_TIMEOUT_SECONDS = 30
# Kept open for the threads that send at the same time.
CONNECTIONS = 4


def connect(settings: Settings) -> OpenSearch:
    """Return a client, which connects with its first request and does not retry by itself.

    Without OPENSEARCH_CAFILE it trusts the public certificate authorities.
    Raises UsageError if OPENSEARCH_HOST is not a host name or address.
    """
    try:
        return OpenSearch(
            hosts=[{"host": settings.opensearch_host, "port": settings.opensearch_port}],
            use_ssl=settings.opensearch_use_ssl,
            ca_certs=settings.opensearch_cafile or None,
            headers=basic_authentication(settings),
            timeout=REQUEST_TIMEOUT_SECONDS,
            max_retries=0,
            pool_maxsize=CONNECTIONS,
        )
    except ValueError:
        raise UsageError(
            f"OPENSEARCH_HOST must be the name or address of a host, not "
            f"{settings.opensearch_host!r}"
        ) from None


def basic_authentication(settings: Settings) -> dict[str, str]:
    """Return the header of basic authentication in UTF-8 (RFC 7617).

    The client itself would encode it in Latin-1.
    """
    if not settings.opensearch_user:
        return {}
    pair = f"{settings.opensearch_user}:{settings.opensearch_password}".encode()
    return {"Authorization": f"Basic {b64encode(pair).decode()}"}
