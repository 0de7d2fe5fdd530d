"""The collector's Kafka producer: librdkafka, ten times as fast as kafka-python."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clickstream.collector.kafka_records import KafkaRecord
from clickstream.settings import Settings

# A record that is not acknowledged by then is given up, and its client sends it again.
DELIVERY_TIMEOUT_MS = 8_000
REQUEST_TIMEOUT_MS = 5_000
# The default of Kafka's own producer. A shorter time makes more and smaller requests, which cost
# CPU time here and on the broker.
LINGER_MS = 5
MAX_PENDING_KIB = 64 * 1024
RECONNECT_MAX_MS = 500
# After one of these errors the next record is sent by a new producer. Either the broker accepts
# nothing from the old producer any more, because the broker lost its state or knows a later epoch
# of the producer. Or the old producer does not find its topic again, as after a broker came back
# without its data.
REASONS_TO_REPLACE = (
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError._FENCED,  # noqa: SLF001 - a public code; the underscore marks codes of the client
    KafkaError._FATAL,  # noqa: SLF001 - the same
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - the same
)
QUEUE_FULL = KafkaError(KafkaError._QUEUE_FULL)  # noqa: SLF001 - the same
# A callback for each record, with an error if it failed. The message is not used.
OnAnswer = Callable[[KafkaError | None, Message | None], None]


class AnsweringProducer:
    """A producer that calls back for each record, in `poll`.

    The memory of the records without an answer is bounded.
    """

    def __init__(self, create: Callable[[], Producer]) -> None:
        self._create = create
        self._producer = create()
        self._must_be_replaced = False

    @property
    def pending_records(self) -> int:
        """The number of records for which `poll` has not called back."""
        return len(self._producer)

    def send(self, topic: str, records: Iterable[KafkaRecord], on_answer: OnAnswer) -> None:
        """Send records, without waiting. Calls back at once for a record that cannot be sent."""
        if self._must_be_replaced:
            self._replace_producer()
        produce = self._producer.produce
        for key, value in records:
            try:
                produce(topic, value, key, on_delivery=on_answer)
            except BufferError:
                on_answer(QUEUE_FULL, None)
            except KafkaException as failure:
                on_answer(failure.args[0], None)

    def poll(self) -> None:
        """Call back for the records that are answered, without waiting."""
        try:
            self._producer.poll(0)
        except KafkaException:  # only if the producer can send nothing more
            self._must_be_replaced = True

    def notice(self, error: KafkaError) -> None:
        """Send the next record by a new producer if this error needs it."""
        self._must_be_replaced |= error.code() in REASONS_TO_REPLACE

    def _replace_producer(self) -> None:
        """Continue with a new producer; records pending in the old one are given up."""
        old = self._producer
        try:
            self._producer = self._create()
        except KafkaException:  # a replaced certificate is invalid; the old producer reports errors
            return
        self._must_be_replaced = False
        old.purge()
        with suppress(KafkaException):
            old.poll(0)


def create_producer(settings: Settings) -> Producer:
    """Return an idempotent producer that waits for all replicas.

    Raises KafkaException if certificates cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
        "acks": "all",
        "enable.idempotence": True,
        # As in Kafka's own clients: a visitor stays in one partition, whichever client sends.
        "partitioner": "murmur2_random",
        "linger.ms": LINGER_MS,
        "message.timeout.ms": DELIVERY_TIMEOUT_MS,
        "request.timeout.ms": REQUEST_TIMEOUT_MS,
        "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
        "queue.buffering.max.kbytes": MAX_PENDING_KIB,
        "allow.auto.create.topics": False,
        "log_level": 2,
    }
    if "SSL" in settings.kafka_security_protocol:
        options |= _tls_options(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password,
        }
    # The collector logs failures once for all requests. This logger shows nothing.
    return Producer(options, logger=logging.Logger("librdkafka", logging.CRITICAL + 1))


def _tls_options(settings: Settings) -> dict[str, str]:
    """Return files, or the text of certificates; a file takes precedence, as for other clients."""
    chosen = {
        "ssl.ca.location": settings.kafka_ssl_cafile,
        "ssl.certificate.location": settings.kafka_ssl_certfile,
        "ssl.key.location": settings.kafka_ssl_keyfile,
    }
    if not settings.kafka_ssl_cafile:
        chosen["ssl.ca.pem"] = settings.kafka_ca_cert
    if not settings.kafka_ssl_certfile:
        chosen["ssl.certificate.pem"] = settings.kafka_access_cert
        chosen["ssl.key.pem"] = settings.kafka_access_key
    return {name: value for name, value in chosen.items() if value}
