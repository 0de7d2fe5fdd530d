"""The handshakes of TLS and SASL with Kafka, to learn why a client is refused.

A client library retries until its timeout and then reports the timeout instead of the cause.
"""

import ssl
import struct
from datetime import UTC, datetime
from pathlib import Path

from clickstream.clients import kafka_wire, network
from clickstream.clients.kafka import tls_context
from clickstream.clients.network import Endpoint
from clickstream.clients.pem import Pem, check_mode
from clickstream.errors import RefusedError, UserError
from clickstream.settings import Settings

SETTING = "KAFKA_BOOTSTRAP_SERVERS"


def find_refusal(settings: Settings) -> UserError | None:
    """Return why certificates or credentials are refused, with the remedy; None for an outage.

    Without TLS and SASL nothing can be refused, and no broker is asked.
    """
    if settings.kafka_security_protocol == "PLAINTEXT":
        return None
    try:
        brokers = endpoints(settings.kafka_bootstrap_servers)
        if "SSL" in settings.kafka_security_protocol:
            _check_files(settings, datetime.now(UTC))
    except UserError as error:
        return error
    for endpoint in brokers:
        try:
            check_credentials(settings, endpoint)
        except RefusedError as error:
            return error
        except UserError:
            continue  # it may be starting
    return None


def _check_files(settings: Settings, now: datetime) -> None:
    from clickstream.clients import credentials  # slow to import, and seldom needed

    ca, certificate = ca_of(settings), certificate_of(settings)
    if ca.value:
        credentials.check_ca(ca, now)
    if certificate.value:
        credentials.check_client(certificate, key_of(settings), now)


def describe_unsafe_key(settings: Settings) -> str:
    """Return a sentence if other users can read the key file for Kafka; else ""."""
    key = key_of(settings)
    if key.is_text or not Path(key.value).is_file():
        return ""
    try:
        check_mode(key)
    except UserError as error:
        return str(error)
    return ""


def ca_of(settings: Settings) -> Pem:
    """Return the CA certificates for Kafka; its value is empty if none are set."""
    return _pem(settings, "KAFKA_SSL_CAFILE", "KAFKA_CA_CERT")


def certificate_of(settings: Settings) -> Pem:
    """Return the client certificate for Kafka; its value is empty if none is set."""
    return _pem(settings, "KAFKA_SSL_CERTFILE", "KAFKA_ACCESS_CERT")


def key_of(settings: Settings) -> Pem:
    """Return the key of the client certificate for Kafka; its value is empty if none is set."""
    return _pem(settings, "KAFKA_SSL_KEYFILE", "KAFKA_ACCESS_KEY")


def _pem(settings: Settings, file_setting: str, text_setting: str) -> Pem:
    """Return the file if it is set, else the text, which may be empty."""
    path = getattr(settings, file_setting.lower())
    text = getattr(settings, text_setting.lower())
    return Pem(text_setting, text, is_text=True) if text and not path else Pem(file_setting, path)


def endpoints(servers: str) -> list[Endpoint]:
    """Return the servers of a comma-separated list. Raises UserError for a malformed one."""
    found = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            raise UserError(
                f"{server.strip()!r} in {SETTING} is not a host and a port; write it as "
                "localhost:9092"
            )
        found.append(Endpoint(host.strip("[]"), int(port), SETTING))
    return found


def check_tls(settings: Settings, endpoint: Endpoint) -> str:
    """Do the TLS handshake, and describe the server's certificate. Raises UserError."""
    with _connect_tls(settings, endpoint) as connection:
        return network.describe(connection)


def _connect_tls(settings: Settings, endpoint: Endpoint) -> ssl.SSLSocket:
    try:
        tls = tls_context(settings)
    except OSError as error:
        raise RefusedError(
            f"OpenSSL cannot use the certificates for Kafka ({error}); get them again from the "
            "server's operator (on Aiven: python -m clickstream env)"
        ) from None
    trusted = network.describe_trust(ca_of(settings))
    return network.start_tls(network.open_connection(endpoint), endpoint, tls, trusted)


def check_credentials(settings: Settings, endpoint: Endpoint) -> str:
    """Send a first request: in TLS 1.3 a client certificate is refused after the handshake.

    Raises RefusedError if the broker refuses certificate or password, and UserError for any other
    problem.
    """
    tls = "SSL" in settings.kafka_security_protocol
    sasl = settings.kafka_security_protocol.startswith("SASL")
    connection = _connect_tls(settings, endpoint) if tls else network.open_connection(endpoint)
    try:
        with connection:
            kafka_wire.greet(connection)
            if sasl:
                kafka_wire.authenticate(connection, settings, endpoint.host)
    except OSError as error:
        kind = RefusedError if "ALERT" in (getattr(error, "reason", None) or "") else UserError
        raise kind(_describe_hang_up(settings, endpoint, error)) from None
    except struct.error:
        raise UserError(f"the server at {endpoint} is not Kafka; check {SETTING}") from None
    if sasl:
        return f"user {settings.kafka_sasl_username!r} is accepted"
    if tls and certificate_of(settings).value:
        return "the client certificate is accepted"
    return "none needed"


def _describe_hang_up(settings: Settings, endpoint: Endpoint, error: OSError) -> str:
    if "SSL" not in settings.kafka_security_protocol:
        return (
            f"{endpoint} does not answer as Kafka to KAFKA_SECURITY_PROTOCOL="
            f"{settings.kafka_security_protocol}; check the port: a TLS port needs SSL or SASL_SSL"
        )
    certificate = certificate_of(settings)
    if not certificate.value:
        return (
            f"{endpoint} closes the connection after the TLS handshake; it may require a client "
            "certificate: set KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE"
        )
    reason = getattr(error, "reason", None) or type(error).__name__
    return (
        f"{endpoint} refuses the client certificate {certificate.name} ({reason}); it "
        "belongs to another project or user, or was revoked; on Aiven: python -m clickstream env"
    )
