"""The options of the Kafka clients, and reaching a server."""

import socket
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clickstream.clients.kafka import check_reachable, connection_options, tls_context
from clickstream.errors import UserError
from clickstream.local.ports import free_port
from clickstream.settings import Settings
from tests.pki import Authority, Pair, key_text


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The CA of the brokers and of the clients."""
    return Authority("a CA")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """Certificate and key of a client."""
    return authority.issue("clickstream")


def settings_of(authority: Authority, pair: Pair, **changes: str) -> Settings:
    return Settings.from_mapping(
        {
            "KAFKA_CA_CERT": authority.certificate,
            "KAFKA_ACCESS_CERT": pair.certificate,
            "KAFKA_ACCESS_KEY": pair.key,
            **changes,
        }
    )


def test_pem_texts_become_a_context_that_verifies_the_brokers(
    authority: Authority, pair: Pair
) -> None:
    options = connection_options(settings_of(authority, pair))
    assert options["security_protocol"] == "SSL"
    assert "ssl_keyfile" not in options
    context = options["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    (ca,) = context.get_ca_certs()
    assert ca["subject"] == ((("commonName", "a CA"),),)


def test_a_ca_file_takes_precedence_over_the_text(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(Authority("of the file").certificate)
    changed = settings_of(authority, pair, KAFKA_SSL_CAFILE=str(tmp_path / "ca.pem"))
    (ca,) = tls_context(changed).get_ca_certs()
    assert ca["subject"] == ((("commonName", "of the file"),),)


@pytest.mark.parametrize(
    "changes",
    [
        {"KAFKA_CA_CERT": "-----BEGIN CERTIFICATE-----"},
        {"KAFKA_ACCESS_KEY": "-----BEGIN PRIVATE KEY-----"},
        {"KAFKA_ACCESS_KEY": Authority("another").issue("other").key},
        {"KAFKA_ACCESS_KEY": key_text(ec.generate_private_key(ec.SECP256R1()), b"passphrase")},
    ],
    ids=["CA", "key", "another's key", "key with a passphrase"],
)
def test_pem_texts_that_openssl_cannot_use_are_an_error_for_the_user(
    changes: dict[str, str], authority: Authority, pair: Pair
) -> None:
    with pytest.raises(UserError, match="the certificates for Kafka cannot be used"):
        connection_options(settings_of(authority, pair, **changes))


# == Reaching a server ==========================================================================


def test_one_server_that_accepts_connections_is_enough() -> None:
    closed = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        servers = f"127.0.0.1:{closed}, 127.0.0.1:{server.getsockname()[1]}"
        check_reachable(Settings(kafka_bootstrap_servers=servers))


def test_the_reason_is_given_if_no_server_accepts_connections() -> None:
    settings = Settings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match="Connection refused"):
        check_reachable(settings)


@pytest.mark.parametrize(
    "server", ["nowhere.invalid", "127.0.0.1:70000", f"{'a' * 64}.example:9092"]
)
def test_an_impossible_address_is_a_reason(server: str) -> None:
    with pytest.raises(ConnectionError):
        check_reachable(Settings(kafka_bootstrap_servers=server))


def test_an_address_that_is_not_understood_is_left_to_the_client() -> None:
    check_reachable(Settings(kafka_bootstrap_servers="localhost:broker"))
