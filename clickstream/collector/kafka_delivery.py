"""Records to Kafka, in bounded memory and without ever blocking the event loop."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from kafka.errors import KafkaError

from clickstream.collector.refused_requests import RequestRefused
from clickstream.collector.request_events import KafkaRecord
from clickstream.errors import first_line

logger = logging.getLogger(__name__)

# The client gets an answer after this time, also if Kafka gives none.
ANSWER_SECONDS = 9.0
MAX_PENDING_BYTES = 64 * 1024 * 1024
# The memory of a pending record besides its value.
RECORD_OVERHEAD_BYTES = 1_000
RETRY_AFTER_SECONDS = 5
LOG_SECONDS = 10.0


class _Request:
    """The records of one request that are not acknowledged yet.

    error: of the first record that failed. answered: is done when no record is pending.
    """

    def __init__(self, records: int) -> None:
        self.pending = records
        self.error: Exception | None = None
        self.answered = asyncio.get_running_loop().create_future()

    def count(self, error: Exception | None) -> None:
        """Count the answer to one record."""
        self.pending -= 1
        self.error = self.error or error
        if not self.pending and not self.answered.done():
            self.answered.set_result(None)


class KafkaDelivery:
    """Sends records and waits until all replicas have them.

    pending_bytes: the memory of the records that Kafka has not acknowledged or given up yet.
    """

    def __init__(
        self, producer: Any, topic: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.pending_bytes = 0
        self._monotonic = monotonic
        self._silent_until = 0.0
        self._producer = producer
        self._topic = topic
        # Answers from the producer's thread, for the event loop.
        self._answers: deque[tuple[_Request, int, Exception | None]] = deque()
        self._is_woken = False

    async def deliver(self, records: Sequence[KafkaRecord]) -> None:
        """Return when every replica has all records.

        Raises RequestRefused with status 503 if that takes longer than ANSWER_SECONDS, or if too
        much is pending. Records of a refused request may be in the topic all the same.
        """
        if not records:
            return
        if self.pending_bytes + sum(map(_memory, records)) > MAX_PENDING_BYTES:
            raise self._unavailable(f"{self.pending_bytes} bytes are pending")
        request = _Request(len(records))
        for record in records:
            self._send(record, request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await request.answered
        except TimeoutError:
            raise self._unavailable(f"no answer within {ANSWER_SECONDS:.0f} s") from None
        if request.error:
            raise self._unavailable(first_line(request.error))

    def _send(self, record: KafkaRecord, request: _Request) -> None:
        try:
            future = self._producer.send(self._topic, record.value, record.key)
        except (KafkaError, ValueError) as error:  # for example while the partitions are unknown
            request.count(error)
            return
        self.pending_bytes += _memory(record)
        future.add_both(self._answer, request, _memory(record))

    def _answer(self, request: _Request, memory: int, result: object) -> None:
        """Pass an answer to the event loop. Is called in the producer's thread."""
        error = result if isinstance(result, Exception) else None
        self._answers.append((request, memory, error))
        if not self._is_woken:
            self._is_woken = True
            request.answered.get_loop().call_soon_threadsafe(self._count_answers)

    def _count_answers(self) -> None:
        self._is_woken = False  # before the last look, so that no later answer waits
        while self._answers:
            request, memory, error = self._answers.popleft()
            self.pending_bytes -= memory
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


def _memory(record: KafkaRecord) -> int:
    return len(record.value) + RECORD_OVERHEAD_BYTES
