"""The visitors who can begin a visit: each on one visit at a time, some of them returning.

Times are microseconds since 1970 UTC.
"""

from heapq import heappop, heappush
from random import Random

from clickstream.simulator.event_json import SECOND
from clickstream.simulator.identities import Identities, SimulatedVisitor

# Probability that a visitor plans to return.
RETURN_PROBABILITY = 0.45
# Weights of the pauses of a planned return, see _pauses.
PAUSE_WEIGHTS = (35, 20, 30, 15)
MAX_DRAWS = 20


def _pauses(timeout: int) -> tuple[tuple[int, int], ...]:
    """Return the shortest and longest pause of each kind, seconds.

    The kinds are: below the session timeout, just above it, the same day, the next day.
    """
    near = (timeout // 10, timeout * 4 // 5), (timeout + timeout // 30 + 1, timeout * 3 // 2 + 1)
    return *near, (3_600, 21_600), (64_800, 108_000)


class VisitorPool:
    """The visitors 0 to size - 1; low numbers visit more often.

    timeout: session timeout, seconds.
    """

    def __init__(self, identities: Identities, size: int, timeout: int, rng: Random) -> None:
        self._identities = identities
        self._size = size
        self._pauses = _pauses(timeout)
        self._rng = rng
        # Visitors on a visit, and those who have planned their return.
        self._unavailable: set[int] = set()
        self._planned_returns: list[tuple[int, int]] = []

    def begin_visit(self, moment: int) -> SimulatedVisitor | None:
        """Return the next visitor, or None if all are on a visit."""
        number = self._next_number(moment)
        if number is None:
            return None
        self._unavailable.add(number)
        return self._identities.visitor(number)

    def end_visit(self, visitor: SimulatedVisitor, moment: int) -> None:
        """End a visit. A visitor who plans to return is not drawn before that time."""
        if self._rng.random() < RETURN_PROBABILITY:
            shortest, longest = self._rng.choices(self._pauses, PAUSE_WEIGHTS)[0]
            back = moment + self._rng.randint(shortest, longest) * SECOND
            heappush(self._planned_returns, (back, visitor.number))
        else:
            self._unavailable.discard(visitor.number)

    def _next_number(self, moment: int) -> int | None:
        if self._planned_returns and self._planned_returns[0][0] <= moment:
            return heappop(self._planned_returns)[1]
        for _ in range(MAX_DRAWS):
            number = int(self._size * self._rng.random() * self._rng.random())
            if number not in self._unavailable:
                return number
        if self._planned_returns:
            return heappop(self._planned_returns)[1]
        return next((n for n in range(self._size) if n not in self._unavailable), None)
