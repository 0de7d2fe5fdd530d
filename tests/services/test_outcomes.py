"""The outcome of each record, for any history of batches, redeliveries and retries.

The oracle takes a batch, or all rejected records, in their order. A record whose key is free
becomes a row, unless PostgreSQL refuses it. Another record with the key of a row is a duplicate if
the row has the same content. All others are rejected. A rejected record that is read again counts
as a duplicate, and leaves rejected_events if it is valid by now.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from clickstream.admin import retry_rejected
from clickstream.admin.rejected_records import Selection
from clickstream.clients.postgres import Connection
from clickstream.clients.record_batch import Record
from clickstream.consumer.batch import first_bytes
from clickstream.model.reading import NATIVE_READING
from clickstream.model.sessions import Rule
from clickstream.storage.outcomes import OutcomeKind
from tests.services import oracle
from tests.services.batches import Batches
from tests.services.records import event

RULE = Rule(timedelta(minutes=30), frozenset(), frozenset())

START_REFUSING = """
    ALTER TABLE clickstream_events ADD CONSTRAINT refusing CHECK (page_url <> '/refused') NOT VALID
"""
STOP_REFUSING = "ALTER TABLE clickstream_events DROP CONSTRAINT IF EXISTS refusing"
ROWS = "SELECT event_time::text, event_id::text, user_id, order_id FROM clickstream_events"
REJECTED = 'SELECT partition, "offset", reason, value FROM rejected_events'
COUNTERS = """
    SELECT sum(records)::int, sum(duplicates)::int, sum(rejected)::int FROM stream_positions
"""

Location = tuple[int, int]


@dataclass
class Oracle:
    """The rows, the rejected records and the counters that the tables must have."""

    refusing: bool = False
    contents: dict[Any, Any] = field(default_factory=dict)
    rejected: dict[Location, tuple[str, bytes | None]] = field(default_factory=dict)
    records: int = 0
    duplicates: int = 0

    def read(self, records: list[Record]) -> None:
        """Take the records of a batch, which may have been read before."""
        self.records += len(records)
        values = {(each.partition, each.offset): first_bytes(each.value) for each in records}
        again = {each: self.rejected.pop(each) for each in values.keys() & self.rejected.keys()}
        kinds = self._take(values)
        self.rejected |= {each: again[each] for each in again.keys() & self.rejected.keys()}
        self.duplicates += len(again) + kinds[OutcomeKind.DUPLICATE]

    def retry(self) -> Counter[OutcomeKind]:
        """Take all rejected records again."""
        values = {location: value for location, (_, value) in self.rejected.items()}
        self.rejected = {}
        kinds = self._take(values)
        self.duplicates += kinds[OutcomeKind.DUPLICATE]
        return kinds

    def _take(self, values: Mapping[Location, bytes | None]) -> Counter[OutcomeKind]:
        """Take records in the order of their locations."""
        bodies = {location: _body(value) for location, value in sorted(values.items())}
        new = {location for location, body in bodies.items() if body and self._insert(body)}
        for location, body in bodies.items():
            reason = self._reason(body)
            if reason:
                self.rejected[location] = (reason, values[location])
        rejected = bodies.keys() & self.rejected.keys()
        return Counter(
            {
                OutcomeKind.NEW: len(new),
                OutcomeKind.REJECTED: len(rejected),
                OutcomeKind.DUPLICATE: len(bodies) - len(new) - len(rejected),
            }
        )

    def _insert(self, body: Any) -> bool:
        """Add a row; return False if its key is taken or PostgreSQL refuses it."""
        refused = self.refusing and body["page_url"] == "/refused"
        if refused or _key(body) in self.contents:
            return False
        self.contents[_key(body)] = _content(body)
        return True

    def _reason(self, body: Any) -> str | None:
        """Return the reason to reject a record, given all rows."""
        if body is None:
            return "not_json"
        content = self.contents.get(_key(body))
        if content is None:
            return "refused_by_postgres"
        return None if content == _content(body) else "event_id_conflict"

    def check(self, connection: Connection) -> None:
        """Assert that the tables are the same."""
        with connection, connection.cursor() as cursor:
            cursor.execute(ROWS)
            rows = {(datetime.fromisoformat(t).isoformat(), i): tuple(c) for t, i, *c in cursor}
            cursor.execute(REJECTED)
            rejected = {(p, offset): (why, bytes(value)) for p, offset, why, value in cursor}
            cursor.execute(COUNTERS)
            counters = cursor.fetchone()
        assert rows == self.contents
        assert rejected == self.rejected
        assert counters == (self.records, self.duplicates, len(self.rejected))
        oracle.check_sessions(connection, timeout=RULE.timeout.total_seconds())


def _body(value: bytes | None) -> Any:
    return json.loads(value) if value and value.startswith(b"{") else None


def _key(body: Any) -> Any:
    return body["timestamp"], body["event_id"]


def _content(body: Any) -> Any:
    return body["user_id"], body.get("order_id")


# Few keys, so that most records meet another one with theirs.
EVENTS = st.builds(
    lambda user, order, number, page: event(
        user, 0, event_id=str(UUID(int=number)), order_id=order, page_url=page, properties={}
    ),
    st.sampled_from(["a", "b"]),
    st.sampled_from([None, "o"]),
    st.integers(1, 3),
    st.sampled_from(["/", "/refused"]),
)
SHARES = st.lists(st.one_of(EVENTS, EVENTS, EVENTS, st.just(b"not JSON")), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(SHARES, SHARES), st.sampled_from(["retry", "refuse", "accept", "redeliver"])
    ),
    min_size=2,
    max_size=12,
)


@examples(max_examples=examples().max_examples // 2)
@given(steps=STEPS)
def test_each_record_has_one_outcome_after_any_batches_redeliveries_and_retries(
    transactions: Connection, steps: list[Any]
) -> None:
    history = History(transactions)
    for step in steps:
        history.run(step)
        history.oracle.check(transactions)


class History:
    """The steps on the tables and on the oracle."""

    def __init__(self, connection: Connection) -> None:
        self.oracle = Oracle()
        self._connection = connection
        self._execute(STOP_REFUSING)
        self._batches = Batches(connection, RULE)
        self._last: dict[int, list[Record]] = {}

    def run(self, step: Any) -> None:
        """Store a batch, or do one of the other steps."""
        named: dict[str, Callable[[], None]] = {
            "retry": self.retry,
            "refuse": self._refuse,
            "accept": self._accept,
            "redeliver": lambda: self._deliver(self._last),
        }
        if isinstance(step, str):
            named[step]()
        else:
            self._deliver(self._batches.make_records(step))

    def retry(self) -> None:
        expected = self.oracle.retry()
        found = retry_rejected.retry(
            self._connection, Selection(), now=datetime.now(UTC), reading=NATIVE_READING
        )
        assert +found == +expected
        self._batches.acquire()

    def _deliver(self, records: dict[int, list[Record]]) -> None:
        self._last = records
        self._batches.deliver(records)
        self.oracle.read([record for partition in sorted(records) for record in records[partition]])

    def _refuse(self) -> None:
        if not self.oracle.refusing:
            self._execute(START_REFUSING)
        self.oracle.refusing = True

    def _accept(self) -> None:
        self._execute(STOP_REFUSING)
        self.oracle.refusing = False

    def _execute(self, statement: str) -> None:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_retry_keeps_every_record_that_conflicts_with_a_stored_event(
    transactions: Connection,
) -> None:
    """Two records of one visitor have the key of another visitor's event."""
    history = History(transactions)
    stored = event("y", 0, event_id=str(UUID(int=1)), page_url="/")
    conflicting = {**stored, "user_id": "x"}
    history.run(([stored, conflicting, conflicting], []))
    history.retry()
    assert list(history.oracle.rejected) == [(0, 1), (0, 2)]
    history.oracle.check(transactions)


def test_a_redelivered_event_is_a_duplicate_after_a_conflict_with_its_key_in_the_same_batch(
    transactions: Connection,
) -> None:
    history = History(transactions)
    stored = event("owner", 0, event_id=str(UUID(int=1)), page_url="/")
    history.run(([stored], []))
    history.run(([{**stored, "user_id": "other"}, stored], []))
    assert list(history.oracle.rejected) == [(0, 1)]
    assert history.oracle.duplicates == 1
    history.oracle.check(transactions)


def test_an_event_that_an_earlier_version_stored_is_a_duplicate_if_its_time_is_rejected_today(
    transactions: Connection,
) -> None:
    """Another visitor's record with its key stays rejected, because nothing of it is stored."""
    batches = Batches(transactions, RULE)
    stored = event("a", 0, timestamp="1970-01-02T00:00:00Z")
    batches.store([[stored]])
    batches.reading = NATIVE_READING
    (progress, _) = batches.store([[stored, {**stored, "user_id": "b"}]])
    assert progress.duplicates == 1
    assert progress.rejected_by_reason == {"timestamp_out_of_range": 1}


@pytest.mark.parametrize(
    ("user_id", "rejected"), [("a", []), ("b", [(0, 0), (0, 2)])], ids=["same visitor", "another"]
)
def test_an_event_that_postgres_refuses_does_not_hold_back_another_with_its_key(
    transactions: Connection, user_id: str, rejected: list[Location]
) -> None:
    """In the same batch. The refused one is then its duplicate, or in conflict with it."""
    history = History(transactions)
    refused = event("a", 0, event_id=str(UUID(int=1)), page_url="/refused")
    valid = {**refused, "user_id": user_id, "page_url": "/"}
    history.run("refuse")
    history.run(([refused, valid, refused], []))
    assert list(history.oracle.contents.values()) == [(user_id, None)]
    assert list(history.oracle.rejected) == rejected
    history.oracle.check(transactions)


def test_many_events_that_postgres_refuses_are_found_in_seconds(
    transactions: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Two thirds of 4,000: each refusal that slows down the next would take minutes.

    A busy machine may take longer, but not more than four times as long for each event.
    """
    batches = Batches(transactions, RULE)
    with transactions, transactions.cursor() as cursor:
        cursor.execute(START_REFUSING)
    few_seconds, _ = _store_refused(batches, 400)
    seconds, rejected = _store_refused(batches, 4_000)
    with transactions, transactions.cursor() as cursor:
        cursor.execute(STOP_REFUSING)
    assert rejected == 4_000 - 1_334
    assert seconds < max(40, 4 * 10 * few_seconds)
    assert "refuses some of 4000 events" in caplog.text


def _store_refused(batches: Batches, number: int) -> tuple[float, int]:
    """Store events of which PostgreSQL refuses two thirds; return seconds and rejected records."""
    events = [
        event(f"v{n % 50}", n, page_url="/accepted" if n % 3 == 0 else "/refused")
        for n in range(number)
    ]
    began = monotonic()
    (progress, _) = batches.store([events, []])
    return monotonic() - began, progress.rejected


# == Another event with the id and time of a stored one =========================================

LINE = event(
    "buyer", 0, "purchase", event_id=str(UUID(int=1)), order_id="o", product_id="p", price=9.5,
    quantity=2,
)  # fmt: skip
COUNTED = "SELECT sum(duplicates)::int, sum(rejected)::int FROM stream_positions"


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"user_id": "another"}, "user_id"),
        ({"order_id": "another"}, "order_id"),
        ({"order_id": None}, "order_id"),
        ({"product_id": "another"}, "product_id"),
        ({"price": 9.51}, "price"),
        ({"price": None}, "price"),
        ({"quantity": 3}, "quantity"),
        ({"quantity": None}, "quantity"),
    ],
)
def test_an_event_with_the_key_but_not_the_content_of_a_stored_one_is_a_conflict(
    transactions: Connection, changed: dict[str, Any], column: str
) -> None:
    """In one batch, and against a row stored before."""
    batches = Batches(transactions, RULE)
    batches.store([[LINE, LINE | changed], []])
    batches.store([[LINE | changed], []])
    detail = f"An event with the same event_id and timestamp but another {column} is stored."
    assert (
        rows_of(transactions, "SELECT reason, detail FROM rejected_events")
        == [("event_id_conflict", detail)] * 2
    )


@pytest.mark.parametrize(
    "same",
    [
        {"price": 9.50},
        {"price": "9.5"},
        {"quantity": 2.0},
        {"page_url": "/another"},
        {"order_id": "o"},
    ],
)
def test_an_event_with_the_key_and_the_content_of_a_stored_one_is_a_duplicate(
    transactions: Connection, same: dict[str, Any]
) -> None:
    batches = Batches(transactions, RULE)
    batches.store([[LINE, LINE | same], []])
    batches.store([[LINE | same], []])
    assert rows_of(transactions, COUNTED) == [(2, 0)]


def test_an_empty_text_that_version_2_stored_is_no_other_content(transactions: Connection) -> None:
    batches = Batches(transactions, RULE)
    without = LINE | {"order_id": "", "product_id": ""}
    batches.store([[without], []])
    with transactions, transactions.cursor() as cursor:
        cursor.execute("UPDATE clickstream_events SET order_id = '', product_id = ''")
    batches.store([[without], []])
    assert rows_of(transactions, COUNTED) == [(1, 0)]


def rows_of(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()
