"""Random histories: after every batch, the tables are what the oracle says."""

from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from clickstream.clients.postgres import Connection, only_row
from clickstream.model.sessions import Rule
from tests.services.batches import Batches
from tests.services.oracle import check_sessions
from tests.services.records import START, event, random_event

TIMEOUT = 30
GRID = sorted([*range(0, 160, 10), TIMEOUT + 0.000001, 2 * TIMEOUT + 0.000001])
RULES = [
    Rule(timedelta(seconds=TIMEOUT), starts, ends)
    for starts in (frozenset(), frozenset({"login"}))
    for ends in (frozenset(), frozenset({"logout"}))
]

# Few visitors, times and ids: equal times, duplicates, one id at two times, and one key for two
# visitors (a conflict) come by themselves. The second name is what COPY and arrays would escape.
VISITORS = ["a", "\\N\t{,}\"'%s"]
KINDS = ["page_view", "purchase", "search", "login", "logout"]


def burst(chance: Random) -> list[Any]:
    """Some events within a timeout or so: most bursts fall into a session or beside it."""
    start = chance.randrange(len(GRID))
    return [
        random_event(
            chance.choice(VISITORS),
            chance.choice(GRID[start : start + 4]),
            chance,
            event_type=chance.choice(KINDS),
            event_id=str(UUID(int=chance.randrange(12))),
        )
        for _ in range(chance.randint(0, 3))
    ]


CHANCE = Random(1)
BURSTS = st.sampled_from([burst(CHANCE) for _ in range(1_000)])
# What may follow a batch: mostly nothing, else a restart, or a watermark (in seconds).
SEQUELS = st.sampled_from([None] * 8 + ["restart", 0, 100, 200])
STEPS = st.lists(st.tuples(BURSTS, BURSTS, SEQUELS), min_size=4, max_size=20)


@examples(max_examples=examples().max_examples // 4)
@given(rule=st.sampled_from(RULES), steps=STEPS)
def test_random_histories_equal_the_oracle(
    transactions: Connection, rule: Rule, steps: list[Any]
) -> None:
    """Disorder, duplicates, conflicts, any batching, restarts, visitors leaving the memory."""
    batches = Batches(transactions, rule)
    for *shares, sequel in steps:
        batches.store(shares)
        check_sessions(
            transactions, timeout=TIMEOUT, starts=rule.start_events, ends=rule.end_events
        )
        if sequel == "restart":
            batches.cache.clear()
        elif sequel is not None:
            batches.cache.evict(START + timedelta(seconds=sequel))
    _check_books(transactions, sum(len(share) for *shares, _ in steps for share in shares))


def _check_books(connection: Connection, sent: int) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT sum(records), sum(duplicates), sum(rejected) FROM stream_positions")
        records, duplicates, rejected = only_row(cursor)
        cursor.execute("SELECT count(*) FROM clickstream_events")
        (rows,) = only_row(cursor)
        cursor.execute("SELECT count(*) FROM rejected_events")
        assert cursor.fetchone() == (rejected,)
    assert sent == records == rows + duplicates + rejected


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
def test_a_crawlers_session_is_bounded_alike_in_any_order(
    transactions: Connection, order: str
) -> None:
    """More values than are counted, of every set, in one session."""
    events = [
        event(
            "crawler", 0.001 * n, "click" if n % 2 else f"type-{n % 4_200:04}",
            event_id=str(UUID(int=n)), page_url=f"/{n * 7919 % 24_000}", product_id=str(n),
            referrer=f"https://{n % 11_000}.example/",
        )
        for n in range(24_000)
    ]  # fmt: skip
    if order == "shuffled":
        Random(1).shuffle(events)
    elif order == "backward":
        events.reverse()
    batches = Batches(transactions, Rule(timedelta(seconds=TIMEOUT), frozenset(), frozenset()))
    for first in range(0, len(events), 6_000):
        batches.store([events[first : first + 6_000]])
    check_sessions(transactions, timeout=TIMEOUT)


def test_a_redelivered_event_is_a_duplicate_though_another_visitor_claims_its_key_before_it(
    transactions: Connection,
) -> None:
    batches = Batches(transactions, Rule(timedelta(seconds=TIMEOUT), frozenset(), frozenset()))
    stored = event("owner", 0, event_id=str(UUID(int=1)))
    batches.store([[stored]])
    (tally, _) = batches.store([[{**stored, "user_id": "other"}, stored]])
    assert (tally.records, tally.duplicates, tally.rejected) == (2, 1, 1)
    _check_books(transactions, sent=3)


def test_what_repeats_a_rejected_record_is_rejected_too(transactions: Connection) -> None:
    batches = Batches(transactions, Rule(timedelta(seconds=TIMEOUT), frozenset(), frozenset()))
    stored = event("owner", 0, event_id=str(UUID(int=1)))
    batches.store([[stored]])
    (tally, _) = batches.store([[{**stored, "user_id": "other"}, {**stored, "user_id": "other"}]])
    assert (tally.records, tally.duplicates, tally.rejected) == (2, 0, 2)
    _check_books(transactions, sent=3)
