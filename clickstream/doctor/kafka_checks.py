"""Kafka, from the client's certificate to the right to write and read the topic."""

import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    NoError,
)

from clickstream.clients.addresses import kafka_address
from clickstream.clients.kafka import connection_options
from clickstream.doctor import credential_files, kafka_wire, network
from clickstream.doctor.checks import Check
from clickstream.doctor.network import Place
from clickstream.errors import UserError
from clickstream.settings import Settings

BOOTSTRAP_TIMEOUT_MS = 10_000
SETTING = "KAFKA_BOOTSTRAP_SERVERS"
RIGHTS_CURE = (
    "on Aiven `terraform apply` restores the user's rights, elsewhere an administrator of Kafka "
    "grants them"
)

T = TypeVar("T")


def checks(settings: Settings, now: datetime) -> Iterator[Check]:
    """Everything, in the order in which it is needed."""
    if "SSL" in settings.kafka_security_protocol:
        yield from _file_checks(settings, now)
    yield Check("name", lambda: _each(settings, network.resolve))
    yield Check("connection", lambda: _each(settings, network.reach))
    if "SSL" in settings.kafka_security_protocol:
        yield Check("TLS", lambda: _each(settings, lambda place: _check_tls(settings, place)))
    yield Check(
        "credentials", lambda: _each(settings, lambda place: _check_credentials(settings, place))
    )
    yield Check("brokers", lambda: _ask(settings, lambda admin: _check_brokers(admin, settings)))
    yield Check("topic", lambda: _ask(settings, lambda admin: _check_topic(admin, settings)))
    yield Check(
        "rights", lambda: _ask(settings, lambda admin: _check_topic_rights(admin, settings)), False
    )
    yield Check("group", lambda: _ask(settings, lambda admin: _check_group(admin, settings)), False)


def _file_checks(settings: Settings, now: datetime) -> Iterator[Check]:
    cafile = settings.kafka_ssl_cafile
    certfile, keyfile = settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile
    if cafile:
        yield Check("CA file", lambda: credential_files.check_ca("KAFKA_SSL_CAFILE", cafile, now))
    if certfile:
        yield Check("certificate", lambda: credential_files.check_client(certfile, keyfile, now))
        yield Check(
            "key's mode", lambda: credential_files.check_mode("KAFKA_SSL_KEYFILE", keyfile), False
        )
        yield Check("renewal", lambda: credential_files.check_renewal(certfile, now), False)


def places(servers: str) -> list[Place]:
    """Hosts and ports of a comma-separated list. Raises UserError for one that is neither."""
    found = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            raise UserError(
                f"{server.strip()!r} in {SETTING} is not a host and a port; write it as "
                "localhost:9092"
            )
        found.append(Place(host.strip("[]"), int(port), SETTING))
    return found


def _each(settings: Settings, look: Callable[[Place], str]) -> str:
    """What is seen at each of the bootstrap servers; the same thing is said once."""
    seen = [look(place) for place in places(settings.kafka_bootstrap_servers)]
    return "; ".join(dict.fromkeys(seen))


def _secure(settings: Settings, place: Place) -> ssl.SSLSocket:
    how = network.context(settings.kafka_ssl_cafile)
    if settings.kafka_ssl_certfile:
        network.identify(how, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    trust = network.trust("KAFKA_SSL_CAFILE", settings.kafka_ssl_cafile)
    return network.start_tls(network.open_connection(place), place, how, trust)


def _check_tls(settings: Settings, place: Place) -> str:
    with _secure(settings, place) as secured:
        return network.describe(secured)


def _check_credentials(settings: Settings, place: Place) -> str:
    """With TLS 1.3 the server refuses a client's certificate only after the handshake."""
    tls = "SSL" in settings.kafka_security_protocol
    sasl = settings.kafka_security_protocol.startswith("SASL")
    connection = _secure(settings, place) if tls else network.open_connection(place)
    try:
        with connection:
            kafka_wire.greet(connection)
            if sasl:
                kafka_wire.authenticate(connection, settings, place.host)
    except OSError as error:
        raise UserError(_hung_up(settings, place, error)) from None
    except struct.error:
        raise UserError(f"what answers at {place} is not Kafka; check {SETTING}") from None
    if sasl:
        return f"user {settings.kafka_sasl_username!r} is let in"
    return "the certificate is let in" if settings.kafka_ssl_certfile and tls else "none needed"


def _hung_up(settings: Settings, place: Place, error: OSError) -> str:
    if "SSL" not in settings.kafka_security_protocol:
        return (
            f"{place} does not answer as Kafka to KAFKA_SECURITY_PROTOCOL="
            f"{settings.kafka_security_protocol}; check the port, one for TLS needs SSL or SASL_SSL"
        )
    if not settings.kafka_ssl_certfile:
        return (
            f"{place} hangs up after TLS; it may want a client certificate: set "
            "KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE"
        )
    reason = getattr(error, "reason", None) or type(error).__name__
    return (
        f"{place} refuses the client certificate {settings.kafka_ssl_certfile} ({reason}); it is "
        "of another project or user, or withdrawn; on Aiven: python -m clickstream env"
    )


def _ask(settings: Settings, question: Callable[[KafkaAdminClient], T]) -> T:
    """Put a question to the cluster. Raises UserError where it has no answer."""
    try:
        client = KafkaAdminClient(
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS, **connection_options(settings)
        )
        with closing(client):
            return question(client)
    except (KafkaError, OSError) as error:
        raise UserError(
            f"{kafka_address(settings)} answers, but not to this client "
            f"({type(error).__name__}); does KAFKA_SECURITY_PROTOCOL="
            f"{settings.kafka_security_protocol} fit the port?"
        ) from None


def _check_brokers(admin: KafkaAdminClient, settings: Settings) -> str:
    """The bootstrap servers name the brokers that clients then go to: are those to be reached?

    They are asked one by one, since the client would wait for a silent one without end.
    """
    described = admin.describe_cluster()["brokers"]
    brokers = [
        Place(broker["host"], broker["port"], SETTING)
        for broker in described
        if not broker.get("is_fenced")  # clients are not sent to it
    ]
    for place in brokers:
        try:
            network.resolve(place)
            _check_credentials(settings, place)
        except UserError as error:
            raise UserError(
                f"the cluster sends its clients on to {place} (advertised.listeners), but {error}"
            ) from None
    return ", ".join(map(str, brokers))


def _check_topic(admin: KafkaAdminClient, settings: Settings) -> str:
    topic = _topic(admin, settings)
    if topic["error_code"] != NoError.errno:
        raise UserError(
            f"the topic {settings.kafka_topic} is missing, or hidden from this user; on Aiven "
            "compare KAFKA_TOPIC with kafka_topic and run `terraform apply`, elsewhere run: "
            "python create_schema.py"
        )
    leaderless = [each for each in topic["partitions"] if each["leader_id"] < 0]
    if leaderless:
        raise UserError(
            f"{len(leaderless)} partitions of the topic {settings.kafka_topic} have no leader; "
            "their brokers are down: wait for them, or ask the server's operator"
        )
    return f"{settings.kafka_topic}, {len(topic['partitions'])} partitions"


def _topic(admin: KafkaAdminClient, settings: Settings) -> dict[str, Any]:
    (topic,) = admin.describe_topics([settings.kafka_topic])
    return dict(topic)


def _check_topic_rights(admin: KafkaAdminClient, settings: Settings) -> str:
    granted = _topic(admin, settings).get("authorized_operations")
    if not granted:
        return "this broker does not tell"
    names = {"WRITE": "write to", "READ": "read"}
    missing = [text for name, text in names.items() if not {name, "ALL"} & set(granted)]
    if missing:
        raise UserError(
            f"the user may not {' or '.join(missing)} the topic {settings.kafka_topic}; "
            f"{RIGHTS_CURE}"
        )
    return "may write and read"


def _check_group(admin: KafkaAdminClient, settings: Settings) -> str:
    group = settings.kafka_group_id
    try:
        admin.list_group_offsets(group)
    except CoordinatorNotAvailableError:  # on a new cluster, until a first consumer has come
        return "this broker cannot tell yet"
    except GroupAuthorizationFailedError:
        raise UserError(
            f"the user may not read as the consumer group {group}; {RIGHTS_CURE}"
        ) from None
    return f"may read as {group}"
