"""OpenSearch, from TLS to the right to reach the pipeline's indexes."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime

from opensearchpy import Connection, OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    OpenSearchException,
)

from clickstream.clients.opensearch import connect
from clickstream.doctor import credential_files, network
from clickstream.doctor.checks import Check
from clickstream.doctor.network import Place
from clickstream.errors import UserError
from clickstream.indexer.indexes import STATE
from clickstream.settings import Settings

PATTERNS = ("clickstream-events*", "clickstream-sessions*")


def checks(settings: Settings, now: datetime) -> Iterator[Check]:
    """Everything, in the order in which it is needed."""
    place = Place(settings.opensearch_host, settings.opensearch_port, "OPENSEARCH_HOST")
    cafile = settings.opensearch_cafile
    if settings.opensearch_use_ssl and cafile:
        yield Check("CA file", lambda: credential_files.check_ca("OPENSEARCH_CAFILE", cafile, now))
    yield Check("name", lambda: network.resolve(place))
    yield Check("connection", lambda: network.reach(place))
    if settings.opensearch_use_ssl:
        yield Check("TLS", lambda: _check_tls(settings, place))
    yield Check("credentials", lambda: _ask(settings, _check_credentials))
    yield Check("rights", lambda: _ask(settings, _check_rights), False)
    yield Check("templates", lambda: _ask(settings, _check_templates), False)


def _check_tls(settings: Settings, place: Place) -> str:
    cafile = settings.opensearch_cafile or Connection.default_ca_certs() or ""
    how = network.context(cafile, strict=True)
    trust = network.trust("OPENSEARCH_CAFILE", settings.opensearch_cafile)
    with (
        network.open_connection(place) as connection,
        network.start_tls(connection, place, how, trust) as secured,
    ):
        return network.describe(secured)


def _ask(settings: Settings, question: Callable[[OpenSearch], str]) -> str:
    """Put a question to the server. Raises UserError where it has no answer."""
    try:
        with closing(connect(settings)) as client:
            return question(client)
    except AuthenticationException:
        raise UserError(
            "OpenSearch refuses OPENSEARCH_USER and OPENSEARCH_PASSWORD; copy them again from its "
            "operator (on Aiven: python -m clickstream env)"
        ) from None
    except OpenSearchException as error:
        raise UserError(
            f"what answers at OPENSEARCH_HOST does not speak as OpenSearch "
            f"({type(error).__name__}); check OPENSEARCH_PORT and OPENSEARCH_USE_SSL"
        ) from None


def _check_credentials(client: OpenSearch) -> str:
    told = client.info()
    if not isinstance(told, dict) or "number" not in told.get("version", {}):
        raise UserError("what answers at OPENSEARCH_HOST is not OpenSearch; check OPENSEARCH_PORT")
    return f"let in, OpenSearch {told['version']['number']}"


def _check_rights(client: OpenSearch) -> str:
    """Only reading can be asked without writing."""
    for name in (*PATTERNS, STATE):
        try:
            client.count(index=name, params={"ignore_unavailable": "true"})
        except AuthorizationException:
            raise UserError(
                f"the user may not read the indexes {name}; on Aiven `terraform apply` restores "
                "its rights, elsewhere an administrator of OpenSearch grants them"
            ) from None
    return f"may read {', '.join(PATTERNS)} and {STATE}"


def _check_templates(client: OpenSearch) -> str:
    try:
        found = client.indices.get_index_template()["index_templates"]
    except AuthorizationException:
        raise UserError(
            "the user may not see the index templates; put them with an administrator's "
            "OPENSEARCH_USER and OPENSEARCH_PASSWORD in the environment of: python create_schema.py"
        ) from None
    patterns = {pattern for each in found for pattern in each["index_template"]["index_patterns"]}
    missing = [pattern for pattern in PATTERNS if pattern not in patterns]
    if missing:
        raise UserError(
            f"there is no index template for {' and '.join(missing)}; run: python create_schema.py"
        )
    return f"there for {' and '.join(PATTERNS)}"
