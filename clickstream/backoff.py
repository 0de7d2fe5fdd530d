"""Exponential backoff with jitter: the time to wait before the next attempt."""

from dataclasses import dataclass
from random import Random

# Doubling this often exceeds any limit; a larger power of 2.0 would overflow in a long outage.
MAX_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times that double with each failure in a row, up to a limit.

    first_seconds: before the first doubling. max_seconds: the limit. random: shortens each wait by
    up to half, so that clients that failed together do not all return together.
    """

    first_seconds: float
    max_seconds: float
    random: Random

    def seconds(self, failures: int) -> float:
        """Return how long to wait after this many failures in a row."""
        doubled = self.first_seconds * 2.0 ** min(failures, MAX_DOUBLINGS)
        return min(self.max_seconds, doubled) * self.random.uniform(0.5, 1)
