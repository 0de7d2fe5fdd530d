"""The watermark of the pipeline, and the sessions that it closes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest

from clickstream.clients.postgres import Connection, only_row
from clickstream.consumer.consumer import Consumer
from clickstream.consumer.drain import Drain
from clickstream.consumer.health import Health
from clickstream.consumer.metrics import Metrics
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage import watermark
from clickstream.storage.watermark import close_sessions, pipeline_watermark
from tests.services import oracle
from tests.services.batches import TOPIC, Batches
from tests.services.databases import Query
from tests.services.records import START, event, send, wait_until_read
from tests.services.scripts import StartScript
from tests.services.waiting import eventually

TIMEOUT = timedelta(minutes=30)
RULE = Rule(TIMEOUT, frozenset(), frozenset({"logout"}))

CLOSED_BY_TIMEOUT = "SELECT user_id FROM session_metrics WHERE close_reason = 'timeout' ORDER BY 1"
OPEN = "SELECT user_id FROM session_metrics WHERE closed_at IS NULL ORDER BY 1"
CAUGHT_UP = "SELECT count(*) FROM stream_positions WHERE caught_up_at > watermark_at"
MAKE_SILENT_FOR_A_DAY = "UPDATE stream_positions SET watermark_at = now() - interval '1 day'"
INSERT_PARTITION = """
    INSERT INTO stream_positions
        (topic, partition, topic_id, watermark, watermark_at, caught_up_at)
    VALUES (%s, %s, %s, now() - %s::interval, now() - %s::interval, now() - %s::interval)
"""


# == The watermark of several partitions ========================================================

HOUR = 3600
# Kinds of partitions: the watermark, when it last moved, and when the owner last reached the end,
# in seconds ago.
AHEAD, MINUTE_BEHIND, HOUR_BEHIND = (10, 1, 0), (70, 1, 0), (HOUR + 10, 1, 0)
SILENT, SILENT_FOR_DAYS = (500, 61, 0), (9 * HOUR * 24, 5 * HOUR * 24, 0)
NO_EVENT, WITHOUT_OWNER, BEHIND = (None, None, 0), (5 * HOUR, 5 * HOUR, 61), (2 * HOUR, 61, 60)


# A partition that a recreated topic does not have any more.
LONG_AGO = ["30 days"] * 3


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([], None),
        ([NO_EVENT], None),
        ([AHEAD], 10),
        ([AHEAD, NO_EVENT], 10),
        ([AHEAD, MINUTE_BEHIND], 70),
        ([AHEAD, MINUTE_BEHIND, HOUR_BEHIND], HOUR + 10),
        ([AHEAD, SILENT], 10),
        ([AHEAD, SILENT_FOR_DAYS], 10),
        ([AHEAD, WITHOUT_OWNER], 5 * HOUR),
        ([AHEAD, BEHIND], 2 * HOUR),
        ([SILENT], 500 - 61),
        ([SILENT, SILENT_FOR_DAYS], 500 - 61),
        ([(10, 61, 0)], 0),
    ],
    ids=[
        "no partition", "one without events", "one", "two, one without events",
        "a minute apart", "an hour apart", "one silent", "one silent for days",
        "one without owner", "one not read to its end", "all silent",
        "all silent for different times", "never beyond now",
    ],
)  # fmt: skip
def test_the_watermark_of_the_pipeline_is_the_smallest_of_the_partitions_that_are_not_silent(
    stored: Sequence[tuple[float | None, ...]],
    expected: float | None,
    transactions: Connection,
) -> None:
    """expected: in seconds ago. If all are silent, it is the largest, plus the time since."""
    with transactions, transactions.cursor() as cursor:
        for number, times in enumerate(stored):
            ago = [None if each is None else timedelta(seconds=each) for each in times]
            cursor.execute(INSERT_PARTITION, (TOPIC.name, number, TOPIC.topic_id, *ago))
        cursor.execute(INSERT_PARTITION, (TOPIC.name, len(stored), "another topic id", *LONG_AGO))
        cursor.execute("SELECT now()")
        (now,) = only_row(cursor)
        watermark = pipeline_watermark(cursor, TOPIC)
    assert watermark == (None if expected is None else now - timedelta(seconds=expected))


def test_a_clock_ahead_moves_the_watermark_up_to_now_at_most(transactions: Connection) -> None:
    """One visitor's clock that is 50 minutes ahead closes no other visitor's session."""
    now = datetime.now(UTC)
    ahead = event("ahead", 0, timestamp=(now + timedelta(minutes=50)).isoformat())
    others = [
        event(f"visitor-{n}", 0, timestamp=(now - timedelta(minutes=n)).isoformat())
        for n in range(30)
    ]
    (progress, _) = Batches(transactions, RULE).store([[*others, ahead], []], now)
    assert progress.watermark == now
    with transactions, transactions.cursor() as cursor:
        watermark = pipeline_watermark(cursor, TOPIC)
        assert watermark is not None
        assert close_sessions(cursor, watermark, TIMEOUT) == 0


def test_a_session_closes_when_the_watermark_passes_it_by_more_than_the_timeout(
    transactions: Connection,
) -> None:
    """At exactly the timeout it stays open, because an event could still belong to it."""
    Batches(transactions, RULE).store([[event("visitor", 0), event("visitor", 60)], []])
    last = START + timedelta(seconds=60)
    with transactions, transactions.cursor() as cursor:
        assert close_sessions(cursor, last + TIMEOUT, TIMEOUT) == 0
        assert close_sessions(cursor, last + TIMEOUT + timedelta(microseconds=1), TIMEOUT) == 1
        assert close_sessions(cursor, last + 2 * TIMEOUT, TIMEOUT) == 0


def test_an_end_event_closes_a_session_and_an_event_before_it_does_not_reopen_it(
    transactions: Connection,
) -> None:
    """The status depends on the last event by time, not on the event that arrives last."""
    batches = Batches(transactions, RULE)
    status = "SELECT closed_at IS NULL, close_reason FROM session_metrics"
    for new, expected in (
        (event("visitor", 0), (True, None)),
        (event("visitor", 60, "logout"), (False, "end_event")),
        (event("visitor", 30), (False, "end_event")),
    ):
        batches.store([[new], []])
        with transactions, transactions.cursor() as cursor:
            cursor.execute(status)
            assert cursor.fetchall() == [expected]


# == The consumer ================================================================================


def test_partitions_a_minute_and_an_hour_apart_close_only_what_the_slowest_has_passed(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    start_script("consumer.py")
    early = [event("gone", -3600), event("slow", 0), event("slow", 300)]
    a_minute_ahead = [event("a minute ahead", 360)]
    an_hour_ahead = [event("an hour ahead", 3900), event("slow, elsewhere", 300)]
    for partition, share in enumerate([early, a_minute_ahead, an_hour_ahead]):
        send(environment, share, partition)
    wait_until_read(query, 6)
    eventually(lambda: query(CAUGHT_UP) == [(3,)])
    eventually(lambda: query(CLOSED_BY_TIMEOUT) == [("gone",)])
    send(environment, [event("slow", 2100)])
    wait_until_read(query, 7)
    assert query("SELECT total_events FROM session_metrics WHERE user_id = 'slow'") == [(3,)]
    oracle.check(environment)


def test_sessions_close_when_traffic_stops_and_a_later_event_reopens_its_session(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Also after a restart. The test does not wait a day, but moves the stored times back."""
    consumer = start_script("consumer.py")
    send(environment, [event("a", 0), event("b", 60)])
    wait_until_read(query, 2)
    assert query(OPEN) == [("a",), ("b",)]
    query(MAKE_SILENT_FOR_A_DAY)
    eventually(lambda: query(CLOSED_BY_TIMEOUT) == [("a",), ("b",)])

    send(environment, [event("b", 120)])
    wait_until_read(query, 3)
    assert (query(OPEN), query(CLOSED_BY_TIMEOUT)) == ([("b",)], [("a",)])

    consumer.kill()
    query(MAKE_SILENT_FOR_A_DAY)
    start_script("consumer.py")
    eventually(lambda: query(CLOSED_BY_TIMEOUT) == [("a",), ("b",)])
    oracle.check(environment)


def test_a_drained_consumer_has_closed_all_sessions_that_are_over(
    environment: dict[str, str],
    settings: Settings,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if they are more than one transaction closes."""
    monkeypatch.setattr(watermark, "MAX_CLOSED_SESSIONS", 2)
    over = [event(f"over {n}", n) for n in range(5)]
    send(environment, [*over, event("open", 3 * HOUR)])
    now = partial(datetime.now, UTC)
    Consumer(
        settings,
        Stop(),
        Drain(),
        random=Random(1),
        now=now,
        metrics=Metrics(now),
        health=Health(),
        new_user_agents=NewUserAgents(),
    ).run()
    assert query(OPEN) == [("open",)]
    assert query(CLOSED_BY_TIMEOUT) == [(f"over {n}",) for n in range(5)]
