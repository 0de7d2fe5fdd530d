"""The destinations of records: Kafka, which acknowledges each one, or standard output."""

import sys
import time
from collections import deque
from typing import Any, NamedTuple, Protocol

from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumberError,
    UnknownProducerIdError,
)

from clickstream.clients import kafka_private
from clickstream.errors import UserError, first_line
from clickstream.sending.kafka_producer import (
    check_topic,
    connect_producer,
    send,
    warn_of_weak_acks,
)
from clickstream.settings import Settings
from clickstream.simulator.event_json import OutgoingRecord, SimulatedEvent

# Longest outage of a broker before records fail.
DELIVERY_TIMEOUT_MS = 600_000
# Longest time that one send blocks; the progress display must not stop for longer.
BLOCK_TIMEOUT_MS = 5_000
# Largest record that is sent; a broker's own limit is usually lower.
MAX_RECORD_BYTES = 16 * 1024 * 1024
# Larger records are compressed, because brokers accept about 1 MiB.
COMPRESS_FROM_BYTES = 900_000
CLOSE_TIMEOUT_SECONDS = 10
DELIVERY = {
    "delivery_timeout_ms": DELIVERY_TIMEOUT_MS,
    "max_block_ms": BLOCK_TIMEOUT_MS,
    "max_request_size": MAX_RECORD_BYTES,
}
# kafka-python itself has no limit on its buffer. Overhead: its memory per record, without value.
MAX_PENDING_BYTES = 32 * 1024 * 1024
RECORD_OVERHEAD_BYTES = 1_000
# A broker that lost its state, as the local one does when it stops, refuses the sequence numbers of
# an idempotent producer. It does not store a record that it refuses, so the record is sent again.
REFUSALS = (*kafka_private.LOCAL_REFUSALS, OutOfOrderSequenceNumberError, UnknownProducerIdError)
RESEND_SECONDS = 0.5


class Sink(Protocol):
    """Sends records and counts the results.

    acknowledges: True if it sends to a server, False if it prints. sent: all records taken.
    acknowledged: those that were confirmed, or printed. reason: error of the first that failed.
    """

    acknowledges: bool
    sent: int
    acknowledged: int
    failed: int
    reason: str

    @property
    def is_waiting(self) -> bool:
        """Return True if the last record could not be sent yet."""

    def send(self, record: OutgoingRecord | SimulatedEvent) -> bool:
        """Send a record. Return False if the caller has to try again later."""

    def settle(self) -> bool:
        """Count the acknowledged and the failed records. Return True if none is pending."""

    def close(self) -> None:
        """Disconnect; records that are still pending count as failed."""


class StandardOutputSink:
    """Prints the values, one per line."""

    acknowledges = False

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.reason = ""
        self.is_waiting = False

    def send(self, record: OutgoingRecord | SimulatedEvent) -> bool:
        value = record.value or b""
        self.sent += 1
        if len(value) > MAX_RECORD_BYTES:  # it may have been cut
            self.failed += 1
            self.reason = f"a record of more than {MAX_RECORD_BYTES} bytes is not printed"
            return True
        sys.stdout.buffer.write(value + b"\n")
        self.acknowledged += 1
        return True

    def settle(self) -> bool:
        sys.stdout.buffer.flush()
        return True

    def close(self) -> None:
        self.settle()


class _Pending(NamedTuple):
    """A record that is not acknowledged yet.

    size: its memory, bytes. first_sent: monotonic time, seconds.
    """

    future: Any
    record: OutgoingRecord | SimulatedEvent
    size: int
    first_sent: float


class KafkaSink:
    """Sends to the topic with an idempotent producer that waits for all replicas.

    Raises UserError if the broker cannot be reached or the topic does not exist.
    """

    acknowledges = True

    def __init__(self, settings: Settings) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.reason = ""
        self._topic = settings.kafka_topic
        self._pending: deque[_Pending] = deque()
        self._refused: deque[_Pending] = deque()
        self._resend_at = 0.0
        self._pending_bytes = 0
        self._waiting_since: float | None = None
        warn_of_weak_acks(settings)
        check_topic(settings)
        self._settings = settings
        self._producer = connect_producer(settings, **DELIVERY)
        self._large_producer: Any = None

    @property
    def is_waiting(self) -> bool:
        return self._waiting_since is not None

    def send(self, record: OutgoingRecord | SimulatedEvent) -> bool:
        if not self._has_room() or not self._produce(record, time.monotonic()):
            return False
        self.sent += 1
        self._waiting_since = None
        return True

    def _produce(self, record: OutgoingRecord | SimulatedEvent, first_sent: float) -> bool:
        """Give a record to the producer. Return False if the caller has to try again later."""
        size = len(record.value or b"")
        try:
            if size < COMPRESS_FROM_BYTES:
                future = send(self._producer, self._topic, record.key, record.value)
            else:
                future = self._compressing_producer().send(self._topic, record.value, record.key)
        except (KafkaTimeoutError, ValueError):
            # A broker that has just restarted may not know the topic for a while.
            self._wait_for_partitions()
            return False
        except KafkaError as error:
            self._fail(error)
        else:
            self._pending.append(_Pending(future, record, size + RECORD_OVERHEAD_BYTES, first_sent))
            self._pending_bytes += size + RECORD_OVERHEAD_BYTES
        return True

    def settle(self) -> bool:
        self._count_answers()
        self._resend()
        return not (self._pending or self._refused)

    def _resend(self) -> None:
        """Send the refused records again, RESEND_SECONDS after the last refusal."""
        if time.monotonic() < self._resend_at:
            return
        while self._refused:
            refused = self._refused[0]
            if not self._produce(refused.record, refused.first_sent):
                return
            self._refused.popleft()
            self._pending_bytes -= refused.size

    def _count_answers(self) -> None:
        while self._pending and self._pending[0].future.is_done:
            answered = self._pending.popleft()
            error = answered.future.exception
            if isinstance(error, REFUSALS) and _is_young(answered):
                self._refused.append(answered)
                self._resend_at = time.monotonic() + RESEND_SECONDS
                continue
            self._pending_bytes -= answered.size
            if error is None:
                self.acknowledged += 1
            else:
                self._fail(error)

    def close(self) -> None:
        for producer in filter(None, (self._producer, self._large_producer)):
            if self._pending:
                kafka_private.abort_pending_records(producer, CLOSE_TIMEOUT_SECONDS)
            producer.close(timeout=CLOSE_TIMEOUT_SECONDS)
        self._count_answers()
        for _ in range(len(self._refused)):
            self._fail(self._refused.popleft().future.exception)

    def _has_room(self) -> bool:
        if self._pending_bytes >= MAX_PENDING_BYTES:
            self.settle()
        return self._pending_bytes < MAX_PENDING_BYTES

    def _wait_for_partitions(self) -> None:
        self._waiting_since = self._waiting_since or time.monotonic()
        if time.monotonic() - self._waiting_since > DELIVERY_TIMEOUT_MS / 1000:
            raise UserError(
                f"Kafka has not known topic {self._topic!r} for {DELIVERY_TIMEOUT_MS // 60_000} "
                "minutes; if it was deleted, create it with: python create_schema.py"
            )

    def _compressing_producer(self) -> Any:
        """Return a producer that compresses: a broker limits the compressed size."""
        if self._large_producer is None:
            self._large_producer = connect_producer(
                self._settings,
                **DELIVERY,
                compression_type="gzip",
                # The broker may be unreachable at the moment.
                bootstrap_timeout_ms=DELIVERY_TIMEOUT_MS,
            )
        return self._large_producer

    def _fail(self, error: Exception) -> None:
        self.failed += 1
        self.reason = self.reason or first_line(error)


def _is_young(pending: _Pending) -> bool:
    return time.monotonic() - pending.first_sent < DELIVERY_TIMEOUT_MS / 1000
