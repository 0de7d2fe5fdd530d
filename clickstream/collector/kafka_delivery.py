"""Delivery of records to Kafka in bounded memory, without blocking the event loop."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaException

from clickstream.collector.librdkafka import AnsweringProducer
from clickstream.collector.refused_requests import RequestRefused
from clickstream.collector.request_events import KafkaRecord
from clickstream.errors import first_line

logger = logging.getLogger(__name__)

# The client gets an answer after this time, also if Kafka gives none.
ANSWER_SECONDS = 9.0
RETRY_AFTER_SECONDS = 5
LOG_SECONDS = 10.0


class _Request:
    """The records of one request that are not acknowledged yet.

    error: of the first record that failed. answered: is done when no record is pending.
    """

    def __init__(self, records: int) -> None:
        self.pending = records
        self.error: str | None = None
        self.answered = asyncio.get_running_loop().create_future()

    def count(self, error: str | None) -> None:
        """Count the answer to one record."""
        self.pending -= 1
        self.error = self.error or error
        if not self.pending and not self.answered.done():
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
        # Answers from the producer's thread, for the event loop.
        self._answers: deque[tuple[_Request, str | None]] = deque()
        self._is_woken = False

    @property
    def pending_records(self) -> int:
        """The number of records that Kafka has neither acknowledged nor refused."""
        return self._producer.pending_records

    async def deliver(self, records: Sequence[KafkaRecord]) -> None:
        """Return when every replica has all records.

        Raises RequestRefused with status 503 if that takes longer than ANSWER_SECONDS, or if too
        much is pending. Records of a refused request may be in the topic all the same.
        """
        if not records:
            return
        request = _Request(len(records))
        answer = partial(self._answer, request)
        for record in records:
            try:
                self._producer.send(self._topic, record, answer)
            except (BufferError, KafkaException) as error:
                request.count(first_line(error))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await request.answered
        except TimeoutError:
            raise self._unavailable(f"no answer within {ANSWER_SECONDS:.0f} s") from None
        if request.error:
            raise self._unavailable(request.error)

    def _answer(self, request: _Request, error: str | None) -> None:
        """Pass an answer to the event loop. Is called in the producer's thread."""
        self._answers.append((request, error))
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):  # the server has stopped, and nobody waits
                request.answered.get_loop().call_soon_threadsafe(self._count_answers)

    def _count_answers(self) -> None:
        self._is_woken = False  # before the last look, so that no later answer waits
        while self._answers:
            request, error = self._answers.popleft()
            request.count(error)

    def _unavailable(self, reason: str) -> RequestRefused:
        """Return the refusal, and log its reason, at most once in LOG_SECONDS."""
        now = self._monotonic()
        if now >= self._silent_until:
            self._silent_until = now + LOG_SECONDS
            logger.warning(
                "Kafka does not take events (%s): requests get 503, and their clients must send "
                "them again; for the cause run: python -m clickstream doctor",
                reason,
            )
        return RequestRefused(
            503,
            "the events could not be stored; send them again",
            retry_after=RETRY_AFTER_SECONDS,
        )
