"""A database with a simulated past of any length, stored as one consumer would have stored it.

The producer's simulation makes one week; in SQL it is repeated with other visitors, week by week.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from clickstream.admin.rebuild_sessions import rebuild
from clickstream.clients.postgres import Connection, connect
from clickstream.model.events import EVENT_COLUMNS, Event
from clickstream.model.parse import parse
from clickstream.model.sessions import Rule
from clickstream.sending.options import visit_behaviour
from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, microseconds
from clickstream.simulator.simulation import Simulation
from clickstream.simulator.traffic import SimulatedTraffic
from clickstream.storage.copy_rows import copy

WEEK = timedelta(days=7)
WEEK_EVENTS = 1_000_000
EVENTS_PER_VISITOR = 20
COPIED_EVENTS = 10_000
RULE = Rule(timedelta(minutes=30), frozenset(), frozenset())

_COLUMN_LIST = ", ".join(EVENT_COLUMNS)
CREATE_WEEK = f"""
    CREATE TEMPORARY TABLE week AS SELECT {_COLUMN_LIST} FROM clickstream_events WITH NO DATA
"""
# An id keeps its random part and gets the milliseconds of its new time. Ids of clicks on ads are
# different in each visit. An event was stored when it happened.
_EARLIER_VALUES = {
    "event_id": "(substr(ms, 1, 8) || '-' || substr(ms, 9) || substr(event_id::text, 14))::uuid",
    "event_time": "earlier",
    "user_id": "user_id || %(suffix)s",
    "page_url": "replace(page_url, 'clid=', 'clid=' || %(suffix)s)",
    "order_id": "order_id || %(suffix)s",
}
INSERT_EARLIER_WEEK = f"""
    INSERT INTO clickstream_events ({_COLUMN_LIST}, stored_at)
    SELECT {", ".join(_EARLIER_VALUES.get(name, name) for name in EVENT_COLUMNS)}, earlier
    FROM week
    CROSS JOIN LATERAL (SELECT event_time - %(weeks)s * interval '7 days' AS earlier) AS moved
    CROSS JOIN LATERAL (
        SELECT lpad(to_hex(floor(extract(epoch FROM earlier) * 1000)::bigint), 12, '0') AS ms)
        AS milliseconds
"""
INSERT_POSITION = """
    INSERT INTO stream_positions
        (topic, partition, topic_id, position, records, watermark, last_record_at, caught_up_at)
    SELECT 'bench', 0, 'bench', count(*), count(*), max(event_time), max(stored_at), now()
    FROM clickstream_events
"""
# Autovacuum does the same some time after this many new rows.
VACUUM = "VACUUM (ANALYZE) clickstream_events, session_metrics"


def store_past(settings: Settings, events: int) -> int:
    """Store events that end now, their sessions and the position, and return their number.

    settings: they name an empty database. events: rounded up to whole weeks of WEEK_EVENTS, if it
    is more than one.
    """
    week_events = min(events, WEEK_EVENTS)
    weeks = -(-events // week_events)
    with closing(connect(settings, application="bench")) as connection:
        _insert(connection, week_events, weeks)
        rebuild(connection, RULE)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(VACUUM)
    return week_events * weeks


def _insert(connection: Connection, week_events: int, weeks: int) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute(CREATE_WEEK)
        week = _week(week_events)
        while rows := list(islice(week, COPIED_EVENTS)):
            copy(cursor, "week", rows)
    for earlier in reversed(range(weeks)):
        with connection, connection.cursor() as cursor:
            values = {"weeks": earlier, "suffix": f"-{earlier}" if earlier else ""}
            cursor.execute(INSERT_EARLIER_WEEK, values)
    with connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE week")
        cursor.execute(INSERT_POSITION)


def _week(events: int) -> Iterator[Event]:
    """Yield the events of a week of a shop: about 16 of each visit, 20 of each visitor."""
    now = datetime.now(UTC)
    usual = visit_behaviour("shop", Settings.from_mapping({}))
    traffic = SimulatedTraffic(
        behaviour=replace(usual, min_action_delay=2.0, max_action_delay=60.0),
        active_visitors=1,
        rate=None,
        population=max(events // EVENTS_PER_VISITOR, 1),
        events=events,
        backfill=WEEK // timedelta(seconds=1) * SECOND,
        until=microseconds(now),
        skew=0,
        seed=1,
    )
    for simulated in Simulation(traffic).events(microseconds(now)):
        yield parse(simulated.value, origin=("bench", 0, 0), latest=now)
