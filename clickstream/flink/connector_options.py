"""Options of Flink's connectors for our Kafka and PostgreSQL, from the settings."""

from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives import serialization

from clickstream.clients import certificates
from clickstream.clients.addresses import host_and_port
from clickstream.clients.pem import GET_AGAIN, Pem
from clickstream.settings import Settings

LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def kafka_options(settings: Settings) -> dict[str, str]:
    """Return the options of a table of connector kafka. Raises UserError for unusable files."""
    options = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
    }
    if "SSL" in settings.kafka_security_protocol:
        options |= _tls_options(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options |= _sasl_options(settings)
    return {f"properties.{name}": value for name, value in options.items()}


def postgres_options(settings: Settings) -> dict[str, str]:
    """Return the options of a table of connector jdbc."""
    server = host_and_port(settings.postgres_host, settings.postgres_port)
    parameters = {
        "sslmode": settings.postgres_sslmode,
        "sslrootcert": settings.postgres_sslrootcert,
        "ApplicationName": "clickstream flink",
        "reWriteBatchedInserts": "true",  # one statement for many rows: twice as fast
    }
    given = {name: value for name, value in parameters.items() if value}
    database = quote(settings.postgres_database, safe="")
    return {
        "url": f"jdbc:postgresql://{server}/{database}?{urlencode(given, quote_via=quote)}",
        "username": settings.postgres_user,
        "password": settings.postgres_password,
    }


def _tls_options(settings: Settings) -> dict[str, str]:
    """Return the certificates as PEM text, as the Java client takes them."""
    ca = _pem("KAFKA_SSL_CAFILE", settings.kafka_ssl_cafile, settings.kafka_ca_cert)
    certificate = _pem(
        "KAFKA_SSL_CERTFILE", settings.kafka_ssl_certfile, settings.kafka_access_cert
    )
    key = _pem("KAFKA_SSL_KEYFILE", settings.kafka_ssl_keyfile, settings.kafka_access_key)
    options: dict[str, str] = {}
    if ca:
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": ca.read().decode()}
    if certificate:
        options |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": certificate.read().decode(),
            "ssl.keystore.key": _pkcs8(key or certificate),
        }
    return options


def _pem(setting: str, file: str, text: str) -> Pem | None:
    """Return the PEM of a file or, if none is set, of a text; None if neither is set."""
    if file:
        return Pem(setting, file)
    return Pem(setting, text, is_text=True) if text else None


def _pkcs8(pem: Pem) -> str:
    """Return a private key in the only form that the Java client reads."""
    key = certificates.read_key(pem.read(), pem.origin, GET_AGAIN)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _sasl_options(settings: Settings) -> dict[str, str]:
    module = LOGIN_MODULES[settings.kafka_sasl_mechanism]
    user, password = (
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in (settings.kafka_sasl_username, settings.kafka_sasl_password)
    )
    return {
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.jaas.config": f"{module} required username={user} password={password};",
    }
