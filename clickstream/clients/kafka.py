"""How the Kafka clients connect: addresses, encryption, credentials."""

from typing import Any

from clickstream.settings import Settings


def connection_options(settings: Settings) -> dict[str, Any]:
    """Return the keyword arguments of KafkaProducer, KafkaConsumer and KafkaAdminClient."""
    options: dict[str, Any] = {
        "bootstrap_servers": [
            server.strip() for server in settings.kafka_bootstrap_servers.split(",")
        ],
        "security_protocol": settings.kafka_security_protocol,
        # By default a client may try again only 30 s after the broker is back.
        "reconnect_backoff_max_ms": 500,
    }
    if "SSL" in settings.kafka_security_protocol:
        options |= {
            "ssl_cafile": settings.kafka_ssl_cafile or None,
            "ssl_certfile": settings.kafka_ssl_certfile or None,
            "ssl_keyfile": settings.kafka_ssl_keyfile or None,
        }
    if settings.kafka_security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    return options
