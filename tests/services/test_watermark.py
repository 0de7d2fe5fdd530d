"""Closing: which sessions the watermark has passed, and what that never changes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from clickstream.clients.postgres import Connection, only_row
from clickstream.model.sessions import Rule
from clickstream.storage.watermark import close_sessions, pipeline_watermark
from tests.services import oracle
from tests.services.batches import TOPIC, Batches
from tests.services.databases import Query
from tests.services.records import START, event, send, wait_until_read
from tests.services.scripts import StartScript
from tests.services.waiting import eventually

TIMEOUT = timedelta(minutes=30)
RULE = Rule(TIMEOUT, frozenset(), frozenset({"logout"}))

CLOSED = "SELECT user_id FROM session_metrics WHERE close_reason = 'timeout' ORDER BY 1"
OPEN = "SELECT user_id FROM session_metrics WHERE closed_at IS NULL ORDER BY 1"
SWEPT = "SELECT count(*) FROM stream_positions WHERE caught_up_at > watermark_at"
NOTHING_FOR_A_DAY = "UPDATE stream_positions SET watermark_at = now() - interval '1 day'"
ADD = """
    INSERT INTO stream_positions
        (topic, partition, topic_id, watermark, watermark_at, caught_up_at)
    VALUES (%s, %s, %s, now() - %s::interval, now() - %s::interval, now() - %s::interval)
"""


# == The watermark of several partitions ========================================================

HOUR = 3600
# What partitions are like: seconds ago of the watermark, of the last record, and of the moment
# when the owner last saw the end of the log.
AHEAD, MINUTE_BEHIND, HOUR_BEHIND = (10, 1, 0), (70, 1, 0), (HOUR + 10, 1, 0)
SILENT, SILENT_FOR_DAYS = (500, 61, 0), (9 * HOUR * 24, 5 * HOUR * 24, 0)
NO_EVENT, WITHOUT_OWNER, BEHIND = (None, None, 0), (5 * HOUR, 5 * HOUR, 61), (2 * HOUR, 61, 60)


# A partition of a topic that was recreated with fewer of them.
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
        "no partition", "none that has had an event", "one", "one that has never had an event",
        "a minute apart", "an hour apart", "one silent", "one silent for days",
        "one that nobody reads", "one that is not read to its end", "all silent",
        "all silent for different times", "never beyond now",
    ],
)  # fmt: skip
def test_the_watermark_of_the_pipeline(
    stored: Sequence[tuple[float | None, ...]],
    expected: float | None,
    transactions: Connection,
) -> None:
    """In seconds ago. A partition that is ahead closes nobody's session."""
    with transactions, transactions.cursor() as cursor:
        for number, times in enumerate(stored):
            ago = [None if each is None else timedelta(seconds=each) for each in times]
            cursor.execute(ADD, (TOPIC.name, number, TOPIC.topic_id, *ago))
        cursor.execute(ADD, (TOPIC.name, len(stored), "its log is gone", *LONG_AGO))
        cursor.execute("SELECT now()")
        (now,) = only_row(cursor)
        watermark = pipeline_watermark(cursor, TOPIC)
    assert watermark == (None if expected is None else now - timedelta(seconds=expected))


def test_a_clock_ahead_moves_the_watermark_up_to_now_at_most(transactions: Connection) -> None:
    """One visitor's clock is 50 minutes ahead; nobody else's session closes."""
    now = datetime.now(UTC)
    ahead = event("ahead", 0, timestamp=(now + timedelta(minutes=50)).isoformat())
    others = [
        event(f"visitor-{n}", 0, timestamp=(now - timedelta(minutes=n)).isoformat())
        for n in range(30)
    ]
    (tally, _) = Batches(transactions, RULE).store([[*others, ahead], []], now)
    assert tally.watermark == now
    with transactions, transactions.cursor() as cursor:
        watermark = pipeline_watermark(cursor, TOPIC)
        assert watermark is not None
        assert close_sessions(cursor, watermark, TIMEOUT) == 0


def test_a_session_closes_when_the_watermark_passes_it_by_more_than_the_timeout(
    transactions: Connection,
) -> None:
    """At exactly the timeout it is open, since an event could still belong to it."""
    Batches(transactions, RULE).store([[event("visitor", 0), event("visitor", 60)], []])
    last = START + timedelta(seconds=60)
    with transactions, transactions.cursor() as cursor:
        assert close_sessions(cursor, last + TIMEOUT, TIMEOUT) == 0
        assert close_sessions(cursor, last + TIMEOUT + timedelta(microseconds=1), TIMEOUT) == 1
        assert close_sessions(cursor, last + 2 * TIMEOUT, TIMEOUT) == 0


def test_an_end_event_closes_at_once_and_a_late_event_opens_again(
    transactions: Connection,
) -> None:
    """The status follows the last event, whichever comes last."""
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


def test_partitions_a_minute_and_an_hour_apart_cut_no_session(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Only the session that the slowest partition has passed closes."""
    start_script("consumer.py")
    early = [event("gone", -3600), event("slow", 0), event("slow", 300)]
    a_minute_ahead = [event("a minute ahead", 360)]
    an_hour_ahead = [event("an hour ahead", 3900), event("slow, elsewhere", 300)]
    for partition, share in enumerate([early, a_minute_ahead, an_hour_ahead]):
        send(environment, share, partition)
    wait_until_read(query, 6)
    eventually(lambda: query(SWEPT) == [(3,)])
    assert query(CLOSED) == [("gone",)]
    send(environment, [event("slow", 2100)])
    wait_until_read(query, 7)
    assert query("SELECT total_events FROM session_metrics WHERE user_id = 'slow'") == [(3,)]
    oracle.check(environment)


def test_sessions_close_by_themselves_when_traffic_stops(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Also after a restart; an event that comes after all opens its session again.

    That time has passed is told to the table in which the consumer keeps it.
    """
    consumer = start_script("consumer.py")
    send(environment, [event("a", 0), event("b", 60)])
    wait_until_read(query, 2)
    assert query(OPEN) == [("a",), ("b",)]
    query(NOTHING_FOR_A_DAY)
    eventually(lambda: query(CLOSED) == [("a",), ("b",)])

    send(environment, [event("b", 120)])
    wait_until_read(query, 3)
    assert (query(OPEN), query(CLOSED)) == ([("b",)], [("a",)])

    consumer.kill()
    query(NOTHING_FOR_A_DAY)
    start_script("consumer.py")
    eventually(lambda: query(CLOSED) == [("a",), ("b",)])
    oracle.check(environment)
