"""The consumer: it runs the loop, and starts it over from what is stored if a step fails."""

import logging
from collections.abc import Callable
from datetime import datetime
from random import Random
from time import monotonic

from kafka.errors import KafkaError

from clickstream.backoff import Backoff
from clickstream.clients.kafka import check_reachable
from clickstream.clients.postgres import Cursor
from clickstream.consumer.drain import Drain
from clickstream.consumer.failures import OUTAGES, describe_outage, permanent_failure
from clickstream.consumer.health import Health
from clickstream.consumer.loop import Loop
from clickstream.consumer.metrics import Metrics
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.consumer.progress_log import SearchBacklog
from clickstream.consumer.stream import Stream
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage.positions import FencedError, IncreasedEpochsError, OtherClusterError

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 5.0
# Longer than the heartbeat interval, so that Kafka has told this consumer if it is still a member.
# Without the wait, a consumer that was frozen would take its partitions back from the new owners.
FENCED_SECONDS = 2.5
WAYS_OUT = (
    "find the cause with: python -m clickstream doctor, or start local servers with: "
    "python -m clickstream stack up"
)
# If the brokers come back as another cluster, as the local broker does, the consumers of a group
# notice it one after the other. Each retries this many times, after FENCED_SECONDS.
TOLERATED_REFUSALS = 3


class Consumer:
    """Consumes the topic until it is stopped or drained.

    now: returns the current time in UTC. read_backlog: returns the search backlog; None if search
    is off. metrics, health: the consumer sets them. new_user_agents: it adds those of stored
    events.
    """

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        drain: Drain | None,
        *,
        random: Random,
        now: Callable[[], datetime],
        metrics: Metrics,
        health: Health,
        new_user_agents: NewUserAgents,
        read_backlog: Callable[[Cursor], SearchBacklog] | None = None,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._drain = drain
        self._backoff = Backoff(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, random)
        self._loop = Loop(settings, stop, drain, now, read_backlog, metrics, new_user_agents)
        self._health = health
        self._stream: Stream | None = None
        self._failures = 0

    def run(self) -> None:
        """Run until stopped or drained, then log the number of records by outcome.

        Raises UserError for a failure that waiting does not cure.
        """
        try:
            while not (self._stop.requested or (self._drain and self._drain.is_finished)):
                self._try_step()
        except KeyboardInterrupt:  # a stop was requested while the consumer connected
            logger.info("stopped before Kafka was reached")
        finally:
            self._health.is_behind = False
            self._loop.close(self._stream)
            self._close_stream()
        self._loop.report_total()

    def _try_step(self) -> None:
        """Run one step of the loop; start over after any failure of a server."""
        self._health.advance()
        try:
            stream = self._open_stream()
            self._health.is_behind = self._loop.step(stream)
            self._health.is_ready = stream.settled and self._loop.is_healthy
            if self._loop.is_healthy:
                self._failures = 0
        except OtherClusterError as error:
            self._failures += 1
            if self._failures > TOLERATED_REFUSALS:
                raise UserError(str(error)) from None
            self._start_over_as_fenced(error)
        except IncreasedEpochsError as error:
            logger.info("dropping the cache: %s", error)
            self._start_over()
        except FencedError as error:
            self._start_over_as_fenced(error)
        except OUTAGES as error:
            permanent = permanent_failure(error, self._settings)
            if permanent:
                raise permanent from None
            self._back_off(error)

    def _open_stream(self) -> Stream:
        if self._stream is None:
            with self._stop.interrupting():
                check_reachable(self._settings)
                self._loop.prepare_join()
                self._stream = Stream(self._settings, self._health.advance)
        return self._stream

    def _start_over_as_fenced(self, error: FencedError) -> None:
        logger.warning("starting over from what is stored: %s", error)
        self._start_over()
        self._wait(FENCED_SECONDS)

    def _back_off(self, error: Exception) -> None:
        self._failures += 1
        seconds = self._backoff.seconds(self._failures)
        outage = describe_outage(error, self._settings)
        if self._stop.requested:
            logger.warning("%s; stopping", outage)
            self._start_over()
            return
        help_ = f"; {WAYS_OUT}" if self._failures == 1 else ""
        logger.warning("%s; trying again in %.1f s%s", outage, seconds, help_)
        self._start_over()
        self._wait(seconds)

    def _start_over(self) -> None:
        """Forget everything but the membership of the group."""
        self._health.is_ready = self._health.is_behind = False
        self._loop.start_over(self._stream)
        if self._stream is not None:
            self._stream.mark_changed()

    def _wait(self, seconds: float) -> None:
        """Wait, as a member of the group if it was joined."""
        deadline = monotonic() + seconds
        if self._stream is None:
            self._stop.wait(seconds)
            return
        try:
            self._stream.wait(seconds)
        except KafkaError:
            self._stop.wait(deadline - monotonic())

    def _close_stream(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            try:
                stream.close()
            except KafkaError as error:
                logger.warning("could not leave the consumer group: %s", first_line(error))
