"""Old sessions and rejected records are removed, nothing of them comes back, and all adds up.

The oracle has whole seconds. An event before kept_from that is not stored counts as removed; a
session whose last event is before removed_before is removed with all its events. A rejected record
of the tests has the time 0 in Kafka, which is before every kept_from.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from math import inf
from signal import SIGINT
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec.structs import replace
from opensearchpy import OpenSearch

from clickstream.admin import retain, retry_rejected
from clickstream.admin.rebuild_sessions import rebuild
from clickstream.admin.rejected_records import Selection
from clickstream.clients.postgres import Connection
from clickstream.consumer.session_cache import SessionCache
from clickstream.errors import UserError
from clickstream.model.reading import Reading
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import event_retention
from clickstream.storage.event_retention import Retention
from clickstream.storage.outcomes import OutcomeKind
from clickstream.verify.stored_sessions import verify_sessions
from tests.services import oracle
from tests.services.batches import ALL_TIMES, Batches
from tests.services.databases import Query
from tests.services.indexers import ManualClock, assert_indexed, open_indexer
from tests.services.records import START, event, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.search_oracle import wait_until_equal
from tests.services.waiting import eventually

TIMEOUTS = (10, 30)
DAY = 86_400.0
ROWS = "SELECT user_id, event_time FROM clickstream_events"
COUNTERS = """
    SELECT sum(records)::int, sum(duplicates)::int, sum(rejected)::int, sum(removed)::int
    FROM stream_positions
"""


class Click(NamedTuple):
    """An event of the oracle. second: its time after START."""

    visitor: str
    second: int
    kind: str

    def as_sent(self) -> Any:
        number = self.second * 10 + len(self.kind)
        event_id = str(UUID(int=number * 2 + (self.visitor == "b")))
        return event(self.visitor, self.second, self.kind, event_id=event_id)


CLICKS = st.builds(
    Click,
    st.sampled_from("ab"),
    st.sampled_from([*range(0, 120, 5), 11, 31, 41]),
    st.sampled_from(["page_view", "page_view", "login", "logout"]),
)
SHARES = st.lists(st.one_of(CLICKS, CLICKS, CLICKS, st.none()), max_size=5)
STEPS = st.lists(
    st.one_of(
        SHARES,
        SHARES,
        st.tuples(st.just("retain"), st.integers(0, 130)),
        st.tuples(st.just("rebuild"), st.sampled_from(TIMEOUTS)),
        st.just("read again"),
    ),
    min_size=3,
    max_size=12,
)


@dataclass
class Oracle:
    """The clicks that must be stored or gone, and the rejected records: those sent as None."""

    rule: Rule
    kept_from: float = -inf
    removed_before: float = -inf
    stored: set[Click] = field(default_factory=set)
    gone: set[Click] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    records: int = 0
    duplicates: int = 0
    removed: int = 0

    def read(self, records: Mapping[int, Click | None]) -> None:
        """Take records by their offsets."""
        for offset, click in records.items():
            self.records += 1
            if click in self.stored or offset in self.rejected:
                self.duplicates += 1
            elif (-inf if click is None else click.second) < self.kept_from:
                self.removed += 1
            elif click is None:
                self.rejected.add(offset)
            else:
                self._accept(click)

    def _accept(self, click: Click) -> None:
        """Store an event, which can belong to no session that was removed."""
        assert not any(
            gone.visitor == click.visitor
            and abs(click.second - gone.second) <= self.rule.timeout.total_seconds()
            for gone in self.gone
        )
        self.stored.add(click)

    def retain(self, kept_from: int) -> None:
        self.kept_from = max(self.kept_from, kept_from)
        self.removed_before = max(self.removed_before, self.kept_from - self._timeout)
        old = {
            click
            for session in self._sessions()
            if max(each.second for each in session) < self.removed_before
            for click in session
        }
        self.stored -= old
        self.gone |= old
        self.removed += len(old) + len(self.rejected)
        self.rejected = set()

    def rebuild(self, rule: Rule) -> None:
        self.rule = rule
        self.kept_from = max(self.kept_from, self.removed_before + self._timeout)

    @property
    def _timeout(self) -> float:
        return self.rule.timeout.total_seconds()

    def _sessions(self) -> list[list[Click]]:
        sessions: list[list[Click]] = []
        ordered = sorted(self.stored, key=lambda each: (each.visitor, _key(each)))
        for _, clicks in groupby(ordered, key=lambda each: each.visitor):
            before: Click | None = None
            for click in clicks:
                if (
                    before is None
                    or click.second - before.second > self._timeout
                    or click.kind in self.rule.start_events
                    or before.kind in self.rule.end_events
                ):
                    sessions.append([])
                sessions[-1].append(click)
                before = click
        return sessions


def _key(click: Click) -> tuple[int, str]:
    return click.second, click.as_sent()["event_id"]


def _rule(timeout: int, *, boundaries: bool) -> Rule:
    starts, ends = ({"login"}, {"logout"}) if boundaries else (set(), set())
    return Rule(timedelta(seconds=timeout), frozenset(starts), frozenset(ends))


class History:
    """Steps on the tables and on the oracle."""

    def __init__(self, connection: Connection, *, boundaries: bool) -> None:
        self.oracle = Oracle(_rule(TIMEOUTS[0], boundaries=boundaries))
        self._boundaries = boundaries
        self._connection = connection
        self._batches = Batches(connection, self.oracle.rule, partitions=[0])
        with connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE rejected_events")
        self._sent: list[Click | None] = []

    def run(self, step: Any) -> None:
        """Store a batch, or do one of the other steps."""
        if isinstance(step, list):
            self._send(step)
        elif step == "read again":
            self._deliver(dict(enumerate(self._sent)))
        elif step[0] == "retain":
            self.oracle.retain(step[1])
            self._retain(START + timedelta(seconds=step[1]))
        else:
            rule = _rule(step[1], boundaries=self._boundaries)
            self.oracle.rebuild(rule)
            rebuild(self._connection, rule)
            self._batches.cache = SessionCache(rule)
        self._batches.acquire()

    def _send(self, clicks: list[Click | None]) -> None:
        first = len(self._sent)
        self._sent += clicks
        self._deliver({first + n: click for n, click in enumerate(clicks)})

    def _deliver(self, clicks: Mapping[int, Click | None]) -> None:
        self.oracle.read(clicks)
        contents = [b"not JSON" if each is None else each.as_sent() for each in clicks.values()]
        (records,) = self._batches.make_records([contents]).values()
        numbered = zip(clicks, records, strict=True)
        self._batches.deliver({0: [replace(record, offset=n) for n, record in numbered]})

    def _retain(self, kept_from: datetime) -> None:
        limits = retain.retain(self._connection, kept_from, lambda _found, _gone: None)
        assert limits.kept_from == START + timedelta(seconds=self.oracle.kept_from)
        assert limits.removed_before == START + timedelta(seconds=self.oracle.removed_before)

    def check(self) -> None:
        """Assert that rows, sessions and counters are those of the oracle."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(ROWS)
            stored = sorted((user, (time - START).total_seconds()) for user, time in cursor)
            cursor.execute(COUNTERS)
            counters = cursor.fetchone()
        found = self.oracle
        assert stored == sorted((each.visitor, each.second) for each in found.stored)
        assert counters == (found.records, found.duplicates, len(found.rejected), found.removed)
        rule = found.rule
        oracle.check_sessions(
            self._connection,
            timeout=rule.timeout.total_seconds(),
            starts=rule.start_events,
            ends=rule.end_events,
        )
        assert verify_sessions(self._connection).differences.first == []


@examples(max_examples=examples().max_examples // 3)
@given(boundaries=st.booleans(), steps=STEPS)
def test_after_any_history_old_sessions_are_gone_whole_and_no_record_brings_back_a_part(
    transactions: Connection, boundaries: bool, steps: list[Any]
) -> None:
    """Histories have late events, records read again, and other timeouts around a removal."""
    history = History(transactions, boundaries=boundaries)
    for step in steps:
        history.run(step)
    history.check()


def _history(connection: Connection, *steps: Any) -> History:
    history = History(connection, boundaries=False)
    for step in steps:
        history.run(step)
        history.check()
    return history


def _clicks(*seconds: int) -> list[Click | None]:
    return [Click("a", second, "page_view") for second in seconds]


def test_a_session_across_the_limit_stays_whole_and_a_late_event_after_it_makes_no_fragment(
    transactions: Connection,
) -> None:
    """The timeout is 10 s. The session that ends at 29 is removed, that from 35 to 55 is not."""
    history = _history(transactions, _clicks(20, 29, 40, 45, 55), ("retain", 50), _clicks(36, 49))
    assert sorted(each.second for each in history.oracle.stored) == [40, 45, 55]
    assert history.oracle.removed == 4
    history = _history(transactions, _clicks(39), ("retain", 50), _clicks(49, 50))
    assert [each.second for each in history.oracle.stored] == [50]


def test_after_a_longer_timeout_no_event_is_accepted_that_would_belong_to_a_removed_session(
    transactions: Connection,
) -> None:
    """By the longer timeout of 30 s the event at 69 belongs to the removed one at 39."""
    history = _history(
        transactions, _clicks(39), ("retain", 50), ("rebuild", 30), _clicks(50, 69, 70)
    )
    assert [each.second for each in history.oracle.stored] == [70]


def test_a_timeout_under_which_new_events_could_belong_to_removed_sessions_is_refused(
    transactions: Connection,
) -> None:
    history = _history(transactions, _clicks(39), ("retain", 50))
    decades = Rule(timedelta(days=20_000), frozenset(), frozenset())
    with pytest.raises(UserError, match="set a shorter SESSION_TIMEOUT_SECONDS"):
        rebuild(transactions, decades)
    history.run(_clicks(50))
    history.check()


def test_a_retried_record_whose_event_is_not_kept_leaves_the_rejected_records(
    transactions: Connection, query: Query
) -> None:
    batches = Batches(transactions, _rule(10, boundaries=False))
    batches.reading = Reading(min_event_time=START + timedelta(days=1))
    batches.store([[event("a", 0)], []])
    assert query("SELECT reason FROM rejected_events") == [("timestamp_out_of_range",)]
    with transactions, transactions.cursor() as cursor:
        event_retention.replace(cursor, Retention(START + timedelta(seconds=1), START))
    kinds = retry_rejected.retry(
        transactions, Selection(), now=datetime.now(UTC), reading=ALL_TIMES
    )
    assert +kinds == {OutcomeKind.REMOVED: 1}
    assert query("SELECT * FROM rejected_events") == []
    assert verify_sessions(transactions).differences.first == []


def test_the_index_of_a_month_is_deleted_with_its_last_document(
    transactions: Connection, searching: Settings, client: OpenSearch
) -> None:
    """The index of June stays: one of its sessions continues in July, where the limit is."""
    batches = Batches(transactions, _rule(7_200, boundaries=False), partitions=[0])
    month_end = (datetime(2025, 7, 1, tzinfo=UTC) - START).total_seconds()
    times = [-15 * DAY, 0, month_end - 1, month_end + 3_600, month_end + 2 * DAY]
    with open_indexer(searching, clock=ManualClock()) as indexer:
        batches.store([[event("a", time) for time in times]])
        assert_indexed(indexer, transactions, client)
        retain.retain(transactions, datetime(2025, 7, 1, 2, tzinfo=UTC), lambda *_: None)
        assert_indexed(indexer, transactions, client)
        names = client.indices.get(index="clickstream-events-*")
        assert sorted(names) == ["clickstream-events-2025.06", "clickstream-events-2025.07"]
        retain.retain(transactions, datetime(2025, 7, 2, tzinfo=UTC), lambda *_: None)
        assert_indexed(indexer, transactions, client)
        assert list(client.indices.get(index="clickstream-events-*")) == [
            "clickstream-events-2025.07"
        ]
        batches.acquire()
        batches.store([[event("b", month_end + 3 * DAY), event("b", 0)]])
        assert_indexed(indexer, transactions, client)


DAYS = 90
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'clickstream retain'
      AND wait_event_type = 'Lock'
"""


def _at(user_id: str, days_ago: float, **fields: Any) -> Any:
    time = datetime.now(UTC) - timedelta(days=days_ago)
    return event(user_id, 0, **{"timestamp": time.isoformat(), **fields})


@pytest.mark.long
@pytest.mark.local_search
def test_beside_a_consumer_old_sessions_go_with_their_documents_and_reading_again_restores_nothing(
    environment: dict[str, str],
    search: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    """One session across the limit stays whole; its first events are older than the limit."""
    environment.update(search)
    quarter_hour = 1 / 96
    old = [_at("old", 100 - n / DAY) for n in range(50)]
    across = [_at("across", DAYS + n * quarter_hour) for n in range(6, -3, -1)]
    consumer = start_script("consumer.py")
    send_by_visitor(environment, [*old, *across, _at("new", 0.01)])
    wait_until_read(query, 60)

    planned = json.loads(_retain(run_script, DAYS, "--dry-run", "--json"))
    assert (planned["dry_run"], planned["sessions"], planned["events"]) == (True, 1, 50)
    assert planned["first_event"] == old[0]["timestamp"]
    assert planned["bytes"] > 0
    assert query("SELECT count(*) FROM clickstream_events") == [(60,)]
    assert query("SELECT * FROM event_retention") == []

    removed = json.loads(_retain(run_script, DAYS, "--json"))
    assert (removed["dry_run"], removed["sessions"], removed["events"]) == (False, 1, 50)
    late = _at("across", DAYS + 0.001)
    send_by_visitor(environment, [late, _at("across", 0), _at("new", 0)])
    wait_until_read(query, 63)
    assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
    wait_until_read(query, 126)
    assert consumer.is_running
    assert "starting over" not in consumer.output
    counters = oracle.check(environment)
    assert (counters["rows"], counters["removed"]) == (12, 50 + 1 + 51)
    assert query("SELECT total_events FROM session_metrics ORDER BY 1") == [(1,), (2,), (9,)]
    wait_until_equal(environment, search)
    _check_mentions(run_script, late["event_id"], removed["kept_from"][:10])


def _retain(run_script: RunScript, days: int, *options: str) -> str:
    result = run_script("clickstream", "retain", "--days", str(days), *options)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def _check_mentions(run_script: RunScript, event_id: str, day: str) -> None:
    """Assert that each command says from when on events are kept."""
    for command in (["summary.py"], ["clickstream", "status"], ["clickstream", "find", event_id]):
        assert f"vents before {day}" in run_script(*command).stdout


def test_ctrl_c_while_sessions_are_removed_leaves_them_consistent_and_the_next_run_goes_on(
    transactions: Connection, start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """The second of three steps waits for a lock, until Ctrl-C."""
    batches = Batches(transactions, _rule(1_800, boundaries=False))
    batches.store([[_at(f"v{n}", 2_000 - n) for n in range(1_200)], [b"not JSON"]])
    with transactions.cursor() as cursor:
        cursor.execute("SELECT FROM session_metrics WHERE user_id = 'v600' FOR UPDATE")
        interrupted = start_script("clickstream", "retain", "--days", "900")
        eventually(lambda: query(WAITING) == [(1,)])
        interrupted.send_signal(SIGINT)
        assert interrupted.wait() == 130
    transactions.rollback()
    assert interrupted.output == "interrupted\n"
    assert query("SELECT count(*) FROM session_metrics") == [(700,)]
    assert verify_sessions(transactions).differences.first == []

    removed = json.loads(_retain(run_script, 900, "--json"))
    assert (removed["sessions"], removed["events"], removed["rejected_records"]) == (600, 600, 1)
    assert query("SELECT removed FROM stream_positions WHERE topic = '(removed)'") == [(1_100,)]
    assert verify_sessions(transactions).differences.first == []
    assert "Removed: 0 sessions; 0 rejected records; about 0 bytes." in _retain(run_script, 900)
    _check_read_only(run_script, query)


def _check_read_only(run_script: RunScript, query: Query) -> None:
    """Assert that a read-only database is reported in one sentence."""
    ((database,),) = query("SELECT quote_ident(current_database())")
    query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    refused = run_script("clickstream", "retain", "--days", "900")
    assert refused.returncode == 1
    assert "in a read-only transaction); find the cause with: python -m clickstream doctor" in (
        refused.stderr
    )
    assert refused.stderr.count("\n") == 1
