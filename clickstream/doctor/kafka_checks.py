"""Checks of Kafka, from the client certificate to the rights on topic and group."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    NoError,
)

from clickstream.clients import credentials, kafka_private, network
from clickstream.clients.addresses import kafka_address
from clickstream.clients.kafka import connection_options
from clickstream.clients.kafka_handshake import (
    SETTING,
    ca_of,
    certificate_of,
    check_credentials,
    check_tls,
    endpoints,
    key_of,
)
from clickstream.clients.network import Endpoint
from clickstream.clients.pem import check_mode
from clickstream.doctor.checks import Check
from clickstream.errors import UserError
from clickstream.plurals import plural
from clickstream.settings import Settings

BOOTSTRAP_TIMEOUT_MS = 10_000
RIGHTS_REMEDY = (
    "on Aiven restore the user's rights with: terraform apply; elsewhere an administrator of Kafka "
    "grants them"
)


def checks(settings: Settings, now: datetime) -> Iterator[Check]:
    """Yield the checks of Kafka; each depends on those before it."""
    if "SSL" in settings.kafka_security_protocol:
        yield from _credential_checks(settings, now)
    yield Check("name", lambda: _each(settings, network.resolve))
    yield Check("connection", lambda: _each(settings, network.reach))
    if "SSL" in settings.kafka_security_protocol:
        yield Check("TLS", lambda: _each(settings, partial(check_tls, settings)))
    yield Check("credentials", lambda: _each(settings, partial(check_credentials, settings)))
    yield Check("brokers", lambda: _with_admin(settings, _check_brokers))
    yield Check("topic", lambda: _with_admin(settings, _check_topic))
    yield Check("rights", lambda: _with_admin(settings, _check_topic_rights), False)
    yield Check("group", lambda: _with_admin(settings, _check_group), False)


def _credential_checks(settings: Settings, now: datetime) -> Iterator[Check]:
    ca, certificate, key = ca_of(settings), certificate_of(settings), key_of(settings)
    if ca.value:
        yield Check("CA", lambda: credentials.check_ca(ca, now))
    if certificate.value:
        yield Check("certificate", lambda: credentials.check_client(certificate, key, now))
        if not key.is_text:
            yield Check("key's mode", lambda: check_mode(key), False)
        yield Check("renewal", lambda: credentials.check_renewal(certificate, now), False)


def _each(settings: Settings, check: Callable[[Endpoint], str]) -> str:
    """Run a check on each bootstrap server and join the distinct results."""
    results = [check(endpoint) for endpoint in endpoints(settings.kafka_bootstrap_servers)]
    return "; ".join(dict.fromkeys(results))


def _with_admin(settings: Settings, check: Callable[[KafkaAdminClient, Settings], str]) -> str:
    """Call `check` with an admin client. Raises UserError if the cluster does not serve it."""
    try:
        client = KafkaAdminClient(
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS, **connection_options(settings)
        )
        with closing(client):
            return check(client, settings)
    except (KafkaError, OSError) as error:
        raise UserError(
            f"{kafka_address(settings)} accepts the connection but does not serve this "
            f"client ({type(error).__name__}); check that KAFKA_SECURITY_PROTOCOL="
            f"{settings.kafka_security_protocol} is right for the port"
        ) from None


def _check_brokers(admin: KafkaAdminClient, settings: Settings) -> str:
    """Check that each broker can be reached at the address that the cluster gives for it.

    They are checked one by one, because the client would wait for a silent one without limit.
    """
    known = kafka_private.known_brokers(admin)
    brokers = [Endpoint(host, port, SETTING) for host, port in known]
    for endpoint in brokers:
        try:
            network.resolve(endpoint)
            check_credentials(settings, endpoint)
        except UserError as error:
            raise UserError(
                f"the cluster directs clients to {endpoint} (advertised.listeners), but {error}"
            ) from None
    return ", ".join(map(str, brokers))


def _check_topic(admin: KafkaAdminClient, settings: Settings) -> str:
    topic = _topic(admin, settings)
    if topic["error_code"] != NoError.errno:
        raise UserError(
            f"the topic {settings.kafka_topic} does not exist, or this user may not see it; on "
            "Aiven compare KAFKA_TOPIC with kafka_topic and run: terraform apply; elsewhere run: "
            "python create_schema.py"
        )
    leaderless = [each for each in topic["partitions"] if each["leader_id"] < 0]
    if leaderless:
        raise UserError(
            f"{len(leaderless)} partitions of the topic {settings.kafka_topic} have no leader; "
            "their brokers are down: wait, or ask the server's operator"
        )
    number = len(topic["partitions"])
    return f"{settings.kafka_topic}, {number} {plural(number, 'partition')}"


def _topic(admin: KafkaAdminClient, settings: Settings) -> dict[str, Any]:
    (topic,) = admin.describe_topics([settings.kafka_topic])
    return dict(topic)


def _check_topic_rights(admin: KafkaAdminClient, settings: Settings) -> str:
    granted = _topic(admin, settings).get("authorized_operations")
    if not granted:
        return "this broker does not report them"
    names = {"WRITE": "write to", "READ": "read"}
    missing = [text for name, text in names.items() if not {name, "ALL"} & set(granted)]
    if missing:
        raise UserError(
            f"the user may not {' or '.join(missing)} the topic {settings.kafka_topic}; "
            f"{RIGHTS_REMEDY}"
        )
    return "may write and read"


def _check_group(admin: KafkaAdminClient, settings: Settings) -> str:
    group = settings.kafka_group_id
    try:
        admin.list_group_offsets(group)
    except CoordinatorNotAvailableError:  # a new cluster, before its first consumer
        return "this broker does not report them yet"
    except GroupAuthorizationFailedError:
        raise UserError(
            f"the user may not use the consumer group {group}; {RIGHTS_REMEDY}"
        ) from None
    return f"may use {group}"
