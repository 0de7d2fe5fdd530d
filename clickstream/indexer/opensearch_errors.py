"""Errors of OpenSearch: an error for outages, and a description of each error in one line."""

import re
from typing import Any

from opensearchpy.exceptions import (
    AuthenticationException,
    ConnectionTimeout,
    SSLError,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as NoConnectionError

# Raised by the client, or by code that reads a reply, if the reply does not come from OpenSearch:
# for example a proxy's error page.
MALFORMED_REPLY_ERRORS = (AttributeError, LookupError, TypeError, ValueError)
# How urllib3 names its own objects at the beginning of an error.
URLLIB3_OBJECT = re.compile(r"<[^>]*>: |\S+\(.*?\): ")


class SearchOutageError(Exception):
    """Raised if OpenSearch does not accept documents now, or not from this indexer."""


def describe_error(error: Exception) -> str:
    """Return a description of a client's error in one line."""
    if isinstance(error, ConnectionTimeout):
        return "it does not answer in time"
    if isinstance(error, TransportError):
        return _describe_transport_error(error)
    if isinstance(error, SearchOutageError):
        return str(error)
    return f"its reply does not come from OpenSearch: {type(error).__name__}"


def remedy(error: Exception) -> str:
    """Return what to do about refused credentials and certificates; "" for other errors."""
    if isinstance(error, AuthenticationException):
        return "check OPENSEARCH_USER and OPENSEARCH_PASSWORD"
    if isinstance(error, SSLError):
        return (
            "check OPENSEARCH_USE_SSL and OPENSEARCH_CAFILE, or find the cause with: "
            "python -m clickstream doctor"
        )
    return ""


def _describe_transport_error(error: TransportError) -> str:
    status, kind, detail = (*error.args, "", None)[:3]
    if isinstance(detail, dict) and "error" in detail:
        return f"{status}: {describe_cause(detail['error'])}"
    lines = URLLIB3_OBJECT.sub("", str(kind)).splitlines()
    text = lines[0] if lines else "without a reason"
    return text if isinstance(error, NoConnectionError) else f"{status}: {text}"


def describe_cause(error: Any) -> str:
    """Return a description in one line of the field `error` of a reply."""
    if not isinstance(error, dict):
        return str(error)
    cause = error.get("caused_by") or {}
    parts = (error.get("type"), error.get("reason"), cause.get("reason"))
    return ": ".join(part for part in parts if part)


def is_not_found(reply: Any) -> bool:
    """Return True if the body of a 404 is OpenSearch's: no such document, or no such index."""
    if not isinstance(reply, dict):
        return False
    error = reply.get("error")
    return "found" in reply or (
        isinstance(error, dict) and error.get("type") == "index_not_found_exception"
    )
