"""Two consumers that store events of the same visitors at once: the sessions stay exact.

Both have written the sessions, or wait for each other, before one of them commits.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from clickstream.clients.postgres import Connection, connect
from clickstream.consumer.session_cache import SessionCache
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.locks import LOCK_SESSIONS, holding
from tests.services.oracle import check_sessions
from tests.services.records import START, event
from tests.services.test_property import RULES, TIMEOUT, burst
from tests.services.waiting import eventually

# Batches wait for it after they have written the sessions.
BLOCK_POSITIONS = "LOCK TABLE stream_positions IN SHARE MODE"
COUNT_BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'consumer'
      AND wait_event_type = 'Lock'
"""
PLAIN = Rule(timedelta(seconds=TIMEOUT), frozenset(), frozenset())
WITH_END = Rule(timedelta(seconds=TIMEOUT), frozenset(), frozenset({"logout"}))


class TwoConsumers:
    """Two consumers of a partition each, which store batches at the same time."""

    def __init__(self, settings: Settings, query: Query, connections: Sequence[Connection]) -> None:
        self._settings = settings
        self._query = query
        self._connections = connections
        self._threads = ThreadPoolExecutor(2)

    def start(self, rule: Rule) -> None:
        """Start both with empty tables."""
        first, second = self._connections
        self.consumers = [Batches(first, rule, [0]), Batches(second, rule, [1])]
        self.consumers[0].acquire()

    def start_first_alone(self, rule: Rule) -> None:
        """Start the first one with empty tables; the second one owns no partition yet."""
        first, second = self._connections
        other = Batches(second, rule, [1])
        self.consumers = [Batches(first, rule, [0]), other]

    @property
    def conflicts(self) -> int:
        """The number of batches that were stored again."""
        return sum(len(consumer.conflicts) for consumer in self.consumers)

    def store(self, *shares: Sequence[Any]) -> None:
        """Store a batch of each consumer; both have written the sessions before one commits."""
        with holding(self._settings, BLOCK_POSITIONS):
            storing = [
                self._threads.submit(consumer.store, [share])
                for consumer, share in zip(self.consumers, shares, strict=True)
            ]
            eventually(lambda: self._all_wait(storing))
        for stored in storing:
            stored.result()

    def wait_until_blocked(self, number: int) -> None:
        """Wait until this many of the two wait for a lock."""
        eventually(lambda: self._query(COUNT_BLOCKED) == [(number,)])

    def _all_wait(self, storing: Sequence[Future[Any]]) -> bool:
        ((blocked,),) = self._query(COUNT_BLOCKED)
        return bool(blocked + sum(stored.done() for stored in storing) == len(storing))


@pytest.fixture
def two(settings: Settings, query: Query) -> Iterator[TwoConsumers]:
    with ExitStack() as opened:
        connections = []
        for _ in range(2):
            connection = connect(settings, application="consumer")
            opened.enter_context(closing(connection))
            with connection, connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = off; SET deadlock_timeout = '20ms'")
            connections.append(connection)
        yield TwoConsumers(settings, query, connections)


Story = Callable[[TwoConsumers], None]


def first_sessions(two: TwoConsumers) -> None:
    two.store([event("v", 0)], [event("v", 20)])


def first_sessions_of_many_visitors(two: TwoConsumers) -> None:
    two.store(
        [event(f"v{n}", n % 25) for n in range(200)],
        [event(f"v{n}", n % 20) for n in reversed(range(200))],
    )


def the_same_session_extended(two: TwoConsumers) -> None:
    two.store([event("v", 0)], [])
    two.store([event("v", 10)], [event("v", 20)])


def a_new_session_near_the_extended_one(two: TwoConsumers) -> None:
    two.store([event("v", 0)], [])
    two.store([event("v", 20)], [event("v", 45)])


def two_new_sessions_in_one_gap(two: TwoConsumers) -> None:
    two.store([event("v", 0)], [event("v", 200)])
    two.store([event("v", 90)], [event("v", 110)])


def two_new_sessions_before_the_first(two: TwoConsumers) -> None:
    two.store([event("v", 200), event("v", 300)], [])
    two.store([event("v", 90)], [event("v", 110)])


def the_first_session_extended_to_a_new_one_before_it(two: TwoConsumers) -> None:
    two.store([event("v", 100), event("v", 200)], [])
    two.store([event("v", 80)], [event("v", 55)])


def a_session_deleted_that_the_other_extends(two: TwoConsumers) -> None:
    two.store([event("v", 0)], [])
    two.store([], [event("v", 50)])
    two.store([event("v", 25)], [event("v", 70)])


def a_session_with_two_ids(two: TwoConsumers) -> None:
    two.store([event("v", 20)], [])
    two.store([event("v", 0)], [event("v", 10)])


def a_session_split_that_the_other_extends(two: TwoConsumers) -> None:
    two.store([event("v", 0), event("v", 20)], [])
    two.store([event("v", 10, "logout")], [event("v", 30)])


def sessions_changed_in_turn(two: TwoConsumers) -> None:
    """The cache of each consumer is outdated whenever the other one has stored."""
    for seconds in range(0, 100, 20):
        two.store([event("v", seconds)], [])
        two.store([], [event("v", seconds + 10)])


def sessions_locked_in_opposite_orders(two: TwoConsumers) -> None:
    visitors = [f"v{n}" for n in range(40)]
    two.store([event(v, n) for v in visitors for n in (0, 50)], [])
    two.store([event(v, 25) for v in visitors], [event(v, 26) for v in visitors])


def evict_all(cache: SessionCache) -> None:
    cache.evict(START + timedelta(hours=1))


STORIES: list[Story] = [
    first_sessions,
    first_sessions_of_many_visitors,
    the_same_session_extended,
    a_new_session_near_the_extended_one,
    two_new_sessions_in_one_gap,
    two_new_sessions_before_the_first,
    the_first_session_extended_to_a_new_one_before_it,
    a_session_deleted_that_the_other_extends,
    a_session_with_two_ids,
    a_session_split_that_the_other_extends,
    sessions_changed_in_turn,
    sessions_locked_in_opposite_orders,
]


def test_sessions_that_two_consumers_change_at_once_are_exact(
    two: TwoConsumers, transactions: Connection, subtests: pytest.Subtests
) -> None:
    for story in STORIES:
        with subtests.test(story.__name__):
            two.start(WITH_END)
            story(two)
            assert two.conflicts > 0
            check_sessions(transactions, timeout=TIMEOUT, ends=WITH_END.end_events)


def test_random_histories_of_two_consumers_equal_the_oracle(
    two: TwoConsumers, transactions: Connection
) -> None:
    """They share visitors; events come in disorder and twice; caches are evicted or restarted."""
    chance = Random(1)
    conflicts = 0
    for _ in range(8):
        rule = chance.choice(RULES)
        two.start(rule)
        for _ in range(8):
            two.store(burst(chance), burst(chance))
            check_sessions(
                transactions, timeout=TIMEOUT, starts=rule.start_events, ends=rule.end_events
            )
            forget = chance.choice([None, SessionCache.clear, evict_all])
            if forget:
                forget(chance.choice(two.consumers).cache)
        conflicts += two.conflicts
    assert conflicts > 10


def test_a_partition_is_not_acquired_while_its_only_other_owner_stores_a_batch(
    two: TwoConsumers, transactions: Connection, settings: Settings
) -> None:
    """A consumer without others changes no session for them to notice its new one."""
    two.start_first_alone(PLAIN)
    first, second = two.consumers
    first.store([[event("v", 0)]])
    with ThreadPoolExecutor(2) as threads, holding(settings, LOCK_SESSIONS):
        storing = threads.submit(first.store, [[event("v", 90)]])
        two.wait_until_blocked(1)
        joining = threads.submit(join, second, [event("v", 110)])
        two.wait_until_blocked(2)
    for done in (storing, joining):
        done.result()
    check_sessions(transactions, timeout=TIMEOUT)


def join(consumer: Batches, share: Sequence[Any]) -> None:
    """Acquire the consumer's partitions and store a batch."""
    consumer.acquire()
    consumer.store([share])


def test_batches_with_different_visitors_are_stored_once(two: TwoConsumers) -> None:
    two.start(PLAIN)
    for seconds in (0, 10, 100, 90):
        shares = [[event(f"{side}{n}", seconds) for n in range(50)] for side in "ab"]
        two.store(*shares)
    assert two.conflicts == 0
