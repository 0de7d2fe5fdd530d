"""Delivery of records to Kafka in bounded memory, without blocking the event loop."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, Message

from clickstream.collector.kafka_records import KafkaRecord
from clickstream.collector.librdkafka import AnsweringProducer
from clickstream.collector.refused_requests import RequestRefused

logger = logging.getLogger(__name__)

# The client gets an answer after this time, also if Kafka gives none.
ANSWER_SECONDS = 9.0
RETRY_AFTER_SECONDS = 5
LOG_SECONDS = 10.0
POLL_SECONDS = 0.002
# Without pending records; the other callbacks of the Kafka client would fill its memory otherwise.
IDLE_POLL_SECONDS = 1.0


class _Request:
    """The records of one request that are not acknowledged yet.

    error: that of the first record that failed. answered: is done when no record is pending.
    """

    def __init__(self, records: int, loop: asyncio.AbstractEventLoop) -> None:
        self.pending = records
        self.error: KafkaError | None = None
        self.answered = loop.create_future()

    def count(self, error: KafkaError | None, _message: Message | None) -> None:
        """Count the answer to one record."""
        self.pending -= 1
        self.error = self.error or error
        if not self.pending:
            self.end()

    def end(self) -> None:
        """Stop waiting for records that are pending."""
        if not self.answered.done():
            self.answered.set_result(None)


class KafkaDelivery:
    """Sends records and waits until all replicas have them."""

    def __init__(
        self,
        producer: AnsweringProducer,
        topic: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._monotonic = monotonic
        self._silent_until = 0.0
        self._has_pending = False
        self._next_poll: asyncio.TimerHandle | None = None

    @property
    def pending_records(self) -> int:
        """The number of records that Kafka has neither acknowledged nor refused."""
        return self._producer.pending_records

    async def deliver(self, records: Sequence[KafkaRecord]) -> None:
        """Return when every replica has all records.

        Raises RequestRefused with status 503 if that takes longer than ANSWER_SECONDS, or if too
        much is pending. Records of a refused request may be in the topic nevertheless.
        """
        if not records:
            return
        loop = asyncio.get_running_loop()
        request = _Request(len(records), loop)
        self._producer.send(self._topic, records, request.count)
        if not self._has_pending:
            self._poll(loop)
        timer = loop.call_later(ANSWER_SECONDS, request.end)
        try:
            await request.answered
        finally:
            timer.cancel()
        if request.error:
            self._producer.notice(request.error)
            raise self._unavailable(request.error.str())
        if request.pending:
            raise self._unavailable(f"no answer within {ANSWER_SECONDS:.0f} s")

    def _poll(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count the answers of Kafka, and do it again soon while records are pending."""
        if self._next_poll:
            self._next_poll.cancel()
        self._has_pending = False
        self._producer.poll()
        self._has_pending = self._producer.pending_records > 0
        seconds = POLL_SECONDS if self._has_pending else IDLE_POLL_SECONDS
        self._next_poll = loop.call_later(seconds, self._poll, loop)

    def _unavailable(self, reason: str) -> RequestRefused:
        """Return the refusal, and log its reason, at most once in LOG_SECONDS."""
        now = self._monotonic()
        if now >= self._silent_until:
            self._silent_until = now + LOG_SECONDS
            logger.warning(
                "Kafka does not take events (%s): requests get 503, and their clients must send "
                "them again; find the cause with: python -m clickstream doctor",
                reason,
            )
        return RequestRefused(
            503,
            "the events could not be stored; send them again",
            retry_after=RETRY_AFTER_SECONDS,
        )
