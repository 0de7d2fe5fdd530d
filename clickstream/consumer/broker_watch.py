"""A warning while Kafka does not answer; the Kafka client itself gives none."""

import logging
from collections.abc import Callable
from time import monotonic

logger = logging.getLogger(__name__)

# A member of the group gets an answer to its heartbeat every 2 s.
SILENT_SECONDS = 6.0


class BrokerWatch:
    """Warns once if Kafka has not answered for SILENT_SECONDS, and says when it answers again.

    address: that of Kafka. clock: returns seconds; it never goes back.
    """

    def __init__(self, address: str, clock: Callable[[], float] = monotonic) -> None:
        self._address = address
        self._clock = clock
        self._answered_at: float | None = None
        self._silent_since = self._observed_at = clock()
        self._has_warned = False

    @property
    def is_silent(self) -> bool:
        """True from the warning until Kafka answers again."""
        return self._has_warned

    def observe(self, answered_at: float | None) -> None:
        """Compare the time of Kafka's last answer with the one of the call before.

        answered_at: None if there is no connection. Call it every few seconds: a pause of more
        than SILENT_SECONDS between two calls does not count as silence of Kafka.
        """
        now = self._clock()
        answers = answered_at is not None and answered_at != self._answered_at
        if answers or now - self._observed_at > SILENT_SECONDS:
            self._silent_since = now
        self._answered_at, self._observed_at = answered_at, now
        if answers and self._has_warned:
            self._has_warned = False
            logger.info("%s answers again", self._address)
        elif not self._has_warned and now - self._silent_since > SILENT_SECONDS:
            self._has_warned = True
            logger.warning(
                "%s has not answered for %.0f s; reading continues by itself when it answers",
                self._address,
                SILENT_SECONDS,
            )
