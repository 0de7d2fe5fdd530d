"""Records to Kafka, in bounded memory and without ever blocking the event loop."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clickstream.collector.refused_requests import RequestRefused
from clickstream.collector.request_events import KafkaRecord
from clickstream.errors import first_line

logger = logging.getLogger(__name__)

# The client gets an answer after this time, also if Kafka gives none.
ANSWER_SECONDS = 9.0
POLL_SECONDS = 0.2
# The broker accepts nothing from this producer any more: it lost its state, or another epoch of the
# producer is there. The local broker also answers so after records that timed out.
REFUSALS = (
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError._FENCED,  # noqa: SLF001 - a public code; its underscore says that it is the client's
    KafkaError._FATAL,  # noqa: SLF001
)
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
    """Sends records and waits until all replicas have them.

    The memory of pending records is bounded by the producer. A thread of its own receives the
    answers of Kafka until `close`.
    """

    def __init__(
        self,
        create_producer: Callable[[], Producer],
        topic: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._create_producer = create_producer
        self._producer = create_producer()
        self._is_refused = False
        self._topic = topic
        self._monotonic = monotonic
        self._silent_until = 0.0
        # Answers from the thread, for the event loop.
        self._answers: deque[tuple[_Request, str | None]] = deque()
        self._is_woken = False
        self._is_closed = False
        self._thread = Thread(target=self._receive_answers, name="kafka answers", daemon=True)
        self._thread.start()

    @property
    def pending_records(self) -> int:
        """The number of records that Kafka has neither acknowledged nor refused."""
        return len(self._producer)

    async def deliver(self, records: Sequence[KafkaRecord]) -> None:
        """Return when every replica has all records.

        Raises RequestRefused with status 503 if that takes longer than ANSWER_SECONDS, or if too
        much is pending. Records of a refused request may be in the topic all the same.
        """
        if not records:
            return
        if self._is_refused:
            self._replace_producer()
        request = _Request(len(records))
        answer = partial(self._answer, request)
        for record in records:
            try:
                self._producer.produce(self._topic, record.value, record.key, on_delivery=answer)
            except (BufferError, KafkaException) as error:
                request.count(first_line(error))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await request.answered
        except TimeoutError:
            raise self._unavailable(f"no answer within {ANSWER_SECONDS:.0f} s") from None
        if request.error:
            raise self._unavailable(request.error)

    def close(self) -> None:
        """Stop the thread; records that are still pending are given up."""
        self._is_closed = True
        self._thread.join()

    def _replace_producer(self) -> None:
        """Continue with a new producer; what is pending in the old one is given up."""
        self._is_refused = False
        self._producer.purge()
        self._producer.poll(0)
        self._producer = self._create_producer()

    def _receive_answers(self) -> None:
        while not self._is_closed:
            self._producer.poll(POLL_SECONDS)

    def _answer(self, request: _Request, error: KafkaError | None, _message: Message) -> None:
        """Pass an answer to the event loop. Is called in the thread."""
        self._is_refused |= error is not None and error.code() in REFUSALS
        self._answers.append((request, error.str() if error else None))
        if not self._is_woken:
            self._is_woken = True
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
