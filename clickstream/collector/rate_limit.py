"""A limit of events per second for each client address."""

from collections import OrderedDict
from math import ceil

BURST_SECONDS = 10
# Addresses in memory; the least recently used one is forgotten first.
MAX_ADDRESSES = 100_000


class RateLimit:
    """Token buckets: each address has `rate` events per second, averaged over BURST_SECONDS.

    A request is allowed if its address has tokens left, and then takes one for each event; the
    result may be negative, so a large request delays the next one and is not refused itself.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = rate * BURST_SECONDS
        # Tokens, and the monotonic time in seconds at which they were counted.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, address: str, now: float) -> int:
        """Return 0 if a request of an address is allowed now, else whole seconds until then.

        now: monotonic time, seconds.
        """
        tokens = self._tokens(address, now)
        return 0 if tokens > 0 else max(1, ceil(-tokens / self._rate))

    def take(self, address: str, events: int, now: float) -> None:
        """Take the tokens for this many events of an address."""
        self._buckets[address] = self._tokens(address, now) - events, now
        self._buckets.move_to_end(address)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)

    def _tokens(self, address: str, now: float) -> float:
        tokens, counted = self._buckets.get(address, (self._capacity, now))
        return min(self._capacity, tokens + (now - counted) * self._rate)
