"""Connection options of the Kafka clients: addresses, encryption, credentials."""

import socket
import ssl
from typing import Any

from clickstream.clients.private_file import private_file
from clickstream.errors import UserError
from clickstream.settings import Settings

REACH_SECONDS = 3.0
DEFAULT_PORT = 9092  # of kafka-python


def check_reachable(settings: Settings) -> None:
    """Connect to one of the servers by TCP. Raises ConnectionError after REACH_SECONDS at most.

    kafka-python itself waits for its whole timeout, does not say why a connection failed, and
    leaves a thread running after each failure.
    """
    servers = settings.kafka_bootstrap_servers.split(",")
    failure = ""
    for server in servers:
        host, separator, port = server.strip().rpartition(":")
        if not separator:
            host, port = port, str(DEFAULT_PORT)
        if not port.isdecimal():
            return  # the client reports it in a sentence
        try:
            address = host.strip("[]"), int(port)
            socket.create_connection(address, REACH_SECONDS / len(servers)).close()
            return
        except OSError as error:
            failure = error.strerror or str(error)
        except (OverflowError, UnicodeError) as error:  # an impossible port or host name
            failure = str(error)
    raise ConnectionError(failure)


def connection_options(settings: Settings) -> dict[str, Any]:
    """Return the keyword arguments of KafkaProducer, KafkaConsumer and KafkaAdminClient.

    Raises UserError if certificates that are given as text cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [
            server.strip() for server in settings.kafka_bootstrap_servers.split(",")
        ],
        "security_protocol": settings.kafka_security_protocol,
        # By default a client may try again only 30 s after the broker is back.
        "reconnect_backoff_max_ms": 500,
    }
    if "SSL" in settings.kafka_security_protocol:
        options |= _tls_options(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    return options


def _tls_options(settings: Settings) -> dict[str, Any]:
    """Return the names of the files, or a context if there are certificates as text."""
    if not (settings.kafka_ca_cert or settings.kafka_access_cert):
        return {
            "ssl_cafile": settings.kafka_ssl_cafile or None,
            "ssl_certfile": settings.kafka_ssl_certfile or None,
            "ssl_keyfile": settings.kafka_ssl_keyfile or None,
        }
    try:
        return {"ssl_context": tls_context(settings)}
    except OSError as error:
        raise UserError(
            f"the certificates for Kafka cannot be used ({error}); find the cause with: "
            "python -m clickstream doctor"
        ) from None


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return the TLS context of a Kafka client, with the options that kafka-python would set.

    A file that is set takes precedence over the text of KAFKA_CA_CERT, KAFKA_ACCESS_CERT and
    KAFKA_ACCESS_KEY. Raises OSError if a file or a text cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.kafka_ssl_cafile or settings.kafka_ca_cert:
        context.load_verify_locations(
            cafile=settings.kafka_ssl_cafile or None,
            cadata=None if settings.kafka_ssl_cafile else settings.kafka_ca_cert,
        )
    else:
        context.load_default_certs()
    if settings.kafka_ssl_certfile:
        context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    elif settings.kafka_access_cert:
        pem = f"{settings.kafka_access_cert}\n{settings.kafka_access_key}\n"
        with private_file(pem.encode()) as path:  # OpenSSL reads a key from a file only
            context.load_cert_chain(path, password="")  # no question for a passphrase
    return context
