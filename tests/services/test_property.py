"""Random histories of batches: the stored sessions equal those of an oracle after every batch."""

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
from clickstream.storage import large_sessions
from clickstream.verify.stored_sessions import verify_sessions
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

# Few visitors, times and ids, so that histories contain equal times, duplicates, one id at two
# times, and one key for two visitors (a conflict). The second visitor needs escapes in COPY and in
# arrays.
VISITORS = ["a", "\\N\t{,}\"'%s"]
KINDS = ["page_view", "purchase", "search", "login", "logout"]


def burst(chance: Random) -> list[Any]:
    """Return some events within about a timeout, so that most are near or inside a session."""
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
# What happens after a batch: mostly nothing, or a restart, or an eviction by a watermark (seconds).
SEQUELS = st.sampled_from([None] * 8 + ["restart", 0, 100, 200])
STEPS = st.lists(st.tuples(BURSTS, BURSTS, SEQUELS), min_size=4, max_size=20)


@examples(max_examples=examples().max_examples // 4)
@given(rule=st.sampled_from(RULES), large=st.sampled_from([1, 3, 2_000]), steps=STEPS)
def test_random_histories_equal_the_oracle(
    transactions: Connection, rule: Rule, large: int, steps: list[Any]
) -> None:
    """Histories have disorder, duplicates, conflicts, any batches, restarts and cache evictions.

    large: number of events from which on a session is loaded instead of refolded.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_sessions, "LARGE_SESSION_EVENTS", large)
        _check_history(transactions, rule, steps)


def _check_history(transactions: Connection, rule: Rule, steps: list[Any]) -> None:
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
    assert batches.conflicts == []
    _check_counters(transactions, sum(len(share) for *shares, _ in steps for share in shares))


def _check_counters(connection: Connection, sent: int) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT sum(records), sum(duplicates), sum(rejected) FROM stream_positions")
        records, duplicates, rejected = only_row(cursor)
        cursor.execute("SELECT count(*) FROM clickstream_events")
        (rows,) = only_row(cursor)
        cursor.execute("SELECT count(*) FROM rejected_events")
        assert cursor.fetchone() == (rejected,)
    assert sent == records == rows + duplicates + rejected


def many_values() -> list[Any]:
    """Return events with more distinct values than are counted."""
    return [
        event(
            "crawler", 0.001 * n, "click" if n % 2 else f"type-{n % 4_200:04}",
            event_id=str(UUID(int=n)), page_url=f"/{n * 7919 % 24_000}", product_id=str(n),
            referrer=f"https://{n % 11_000}.example/",
        )
        for n in range(24_000)
    ]  # fmt: skip


def large_values() -> list[Any]:
    """Return events whose values need very different numbers of bytes in UTF-8 and in JSON."""
    chance = Random(2)

    def text(characters: int) -> str:
        start = f"{chance.randrange(10**6):06}"
        repeated = chance.choice(["a", '"', "\\", "\x01", "\x7f", "\n", "é", "\u2028", "😀"])
        return start + repeated * (chance.choice([10, characters]) - len(start))

    return [
        event(
            "crawler", 0.001 * n, chance.choice(["click", "search", text(64)]),
            event_id=str(UUID(int=n)), page_url=text(8_192), product_id=text(8_192),
            referrer=text(8_192), search_query=text(8_192),
        )
        for n in range(400)
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    "order", ["forward", "shuffled", pytest.param("backward", marks=pytest.mark.slow)]
)
def test_a_session_with_more_values_than_are_kept_is_the_same_in_any_order_of_arrival(
    transactions: Connection, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_sessions, "LARGE_SESSION_EVENTS", 400)
    for events in (many_values(), large_values()):
        if order == "shuffled":
            Random(1).shuffle(events)
        elif order == "backward":
            events.reverse()
        batches = Batches(transactions, Rule(timedelta(seconds=TIMEOUT), frozenset(), frozenset()))
        size = len(events) // 4
        for first in range(0, len(events), size):
            batches.store([events[first : first + size]])
        batches.cache.clear()  # the next event loads the session
        for value in ("\U0010ffff", "\U0010fffe"):
            batches.store([[event("crawler", 25, "click", page_url=value, product_id=value)]])
        check_sessions(transactions, timeout=TIMEOUT)
        assert verify_sessions(transactions).differences.first == []
