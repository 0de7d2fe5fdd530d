"""Checks of OpenSearch, from the TLS handshake to the rights on the pipeline's indexes."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial

from opensearchpy import Connection, OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    OpenSearchException,
)

from clickstream.byte_sizes import format_bytes
from clickstream.clients import network
from clickstream.clients.credentials import check_ca
from clickstream.clients.network import Endpoint
from clickstream.clients.opensearch import connect
from clickstream.clients.pem import Pem
from clickstream.doctor.checks import Check
from clickstream.errors import UserError
from clickstream.indexer.index_names import IndexNames
from clickstream.settings import Settings


def checks(settings: Settings, now: datetime) -> Iterator[Check]:
    """Yield the checks of OpenSearch; each depends on those before it."""
    endpoint = Endpoint(settings.opensearch_host, settings.opensearch_port, "OPENSEARCH_HOST")
    cafile = settings.opensearch_cafile
    if settings.opensearch_use_ssl and cafile:
        yield Check("CA", lambda: check_ca(Pem("OPENSEARCH_CAFILE", cafile), now))
    yield Check("name", lambda: network.resolve(endpoint))
    yield Check("connection", lambda: network.reach(endpoint))
    if settings.opensearch_use_ssl:
        yield Check("TLS", lambda: _check_tls(settings, endpoint))
    yield Check("credentials", lambda: _with_client(settings, _check_credentials))
    names = IndexNames(settings.opensearch_index_prefix)
    check_rights = partial(_check_rights, names)
    yield Check("rights", lambda: _with_client(settings, check_rights), False)
    check_templates = partial(_check_templates, names)
    yield Check("templates", lambda: _with_client(settings, check_templates), False)
    check_size = partial(_check_size, names)
    yield Check("size", lambda: _with_client(settings, check_size), False)


def _check_tls(settings: Settings, endpoint: Endpoint) -> str:
    cafile = settings.opensearch_cafile or Connection.default_ca_certs() or ""
    tls = network.context(cafile, strict=True)
    trusted = network.describe_trust(Pem("OPENSEARCH_CAFILE", settings.opensearch_cafile))
    with (
        network.open_connection(endpoint) as connection,
        network.start_tls(connection, endpoint, tls, trusted) as secured,
    ):
        return network.describe(secured)


def _with_client(settings: Settings, check: Callable[[OpenSearch], str]) -> str:
    """Call `check` with a client. Raises UserError if the server does not serve it."""
    try:
        with closing(connect(settings)) as client:
            return check(client)
    except AuthenticationException:
        raise UserError(
            "OpenSearch refuses OPENSEARCH_USER and OPENSEARCH_PASSWORD; get them again from "
            "its operator (on Aiven: python -m clickstream env)"
        ) from None
    except OpenSearchException as error:
        raise UserError(
            f"the server at OPENSEARCH_HOST does not answer as OpenSearch does "
            f"({type(error).__name__}); check OPENSEARCH_PORT and OPENSEARCH_USE_SSL"
        ) from None


def _check_credentials(client: OpenSearch) -> str:
    reply = client.info()
    if not isinstance(reply, dict) or "number" not in reply.get("version", {}):
        raise UserError("the server at OPENSEARCH_HOST is not OpenSearch; check OPENSEARCH_PORT")
    return f"accepted, OpenSearch {reply['version']['number']}"


def _check_rights(names: IndexNames, client: OpenSearch) -> str:
    """Check the right to read; the right to write cannot be checked without writing."""
    for name in (*names.patterns, names.state):
        try:
            client.count(index=name, params={"ignore_unavailable": "true"})
        except AuthorizationException:
            raise UserError(
                f"the user may not read the indexes {name}; on Aiven restore its rights "
                "with: terraform apply; elsewhere an administrator of OpenSearch grants them"
            ) from None
    return f"may read {', '.join(names.patterns)} and {names.state}"


def _check_templates(names: IndexNames, client: OpenSearch) -> str:
    try:
        found = client.indices.get_index_template()["index_templates"]
    except AuthorizationException:
        raise UserError(
            "the user may not see the index templates; run python create_schema.py once with the "
            "OPENSEARCH_* settings of an administrator in its environment"
        ) from None
    patterns = {pattern for each in found for pattern in each["index_template"]["index_patterns"]}
    missing = [pattern for pattern in names.patterns if pattern not in patterns]
    if missing:
        raise UserError(
            f"there is no index template for {' and '.join(missing)}; run: python create_schema.py"
        )
    return f"present for {' and '.join(names.patterns)}"


def _check_size(names: IndexNames, client: OpenSearch) -> str:
    """Describe how large the indexes are on all nodes, replicas included."""
    try:
        stats = client.indices.stats(index=",".join(names.patterns), metric="docs,store")
    except AuthorizationException:
        return "not known, because the user may not read the statistics of the indexes"
    found = stats["_all"]
    if not found["primaries"]:
        return "no indexes yet"
    documents = found["primaries"]["docs"]["count"]
    return f"{format_bytes(found['total']['store']['size_in_bytes'])}, {documents:,} documents"
