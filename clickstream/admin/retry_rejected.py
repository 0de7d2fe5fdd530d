"""Retrying rejected records: those that are valid now are stored as events, each once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg2.extras import execute_batch

from clickstream.admin.rejected_records import IS_SELECTED, Selection
from clickstream.clients.postgres import Connection, Cursor
from clickstream.consumer.session_cache import SessionCache
from clickstream.model.events import Event
from clickstream.model.field_names import FieldNames
from clickstream.model.named_visitors import visitors_of
from clickstream.model.reading import Reading
from clickstream.model.sessions import Rule
from clickstream.storage import outcomes, stored_reading, stored_rule, write_lock
from clickstream.storage.outcomes import OutcomeKind, RecordOutcome, read_event
from clickstream.storage.positions import FORGOTTEN

# Records with these reasons stay rejected, because their value is not stored completely. So do
# records whose value was not kept because of IP_ADDRESSES.
INCOMPLETE_REASONS = frozenset({"unreadable", "value_too_large"})
# Records of one transaction. All their values are in memory, each of up to 1 MiB.
CHUNK_RECORDS = 500

SELECT_CHUNK = f"""
    SELECT topic_id, partition, "offset", topic, key, value, derived_event_id, reason, detail,
           coalesce(record_timestamp, rejected_at)
    FROM rejected_events
    WHERE {IS_SELECTED} AND (topic_id, partition, "offset") > %(after)s
    ORDER BY topic_id, partition, "offset"
    LIMIT %(limit)s
"""  # noqa: S608 - built of constants
UPDATE_REASON = """
    UPDATE rejected_events SET reason = %s, detail = %s
    WHERE (topic_id, partition, "offset") = (%s, %s, %s)
"""
DELETE_RETRIED = """
    DELETE FROM rejected_events WHERE (topic_id, partition, "offset") = (%s, %s, %s)
"""
# Changes the row of the partition, or that of the forgotten ones.
MOVE_COUNTERS = """
    UPDATE stream_positions
    SET rejected = rejected - %(left)s, duplicates = duplicates + %(duplicates)s,
        removed = removed + %(removed)s
    WHERE (topic, partition) = (%(topic)s, %(partition)s)
       OR topic = %(forgotten)s AND NOT EXISTS (
            SELECT FROM stream_positions
            WHERE (topic, partition) = (%(topic)s, %(partition)s))
"""


class RetriedRecord(NamedTuple):
    """A row of rejected_events. The first three fields are its key.

    time: that of the record in Kafka, or of its rejection if it has none there.
    """

    topic_id: str
    partition: int
    offset: int
    topic: str
    key: memoryview | None
    value: memoryview | None
    derived_event_id: str | None
    reason: str
    detail: str
    time: datetime


@dataclass(frozen=True, slots=True)
class RetriedChunk:
    """The records of one transaction. names: names of fields, by EVENT_FIELDS."""

    records: Sequence[RetriedRecord]
    names: FieldNames

    def time_of(self, index: int) -> datetime:
        """Return the time of a record."""
        return self.records[index].time

    def visitors_of(self, index: int) -> set[str]:
        """Return the visitors that can be read in key and value of a record."""
        record = self.records[index]
        return visitors_of(_bytes(record.key), _bytes(record.value), self.names)


def retry(
    connection: Connection, selection: Selection, *, now: datetime, reading: Reading
) -> Counter[OutcomeKind]:
    """Retry rejected records, and return the number of records by outcome.

    Each transaction retries CHUNK_RECORDS. It keeps the consumers out and makes them drop their
    caches, because a retried event may belong to a session that one of them has cached.
    Raises UserError if no consumer has stored a session rule yet, or if another reading is stored.
    """
    kinds: Counter[OutcomeKind] = Counter()
    after = ("", -1, -1)
    while True:
        with connection, connection.cursor() as cursor:
            write_lock.exclude_consumers(cursor)
            stored_reading.require(cursor, reading)
            values = {**selection.parameters(), "after": after, "limit": CHUNK_RECORDS}
            cursor.execute(SELECT_CHUNK, values)
            records = [RetriedRecord(*row) for row in cursor.fetchall()]
            if not records:
                return kinds
            rule = stored_rule.require_any(cursor)
            decided = _retry_chunk(cursor, records, rule, now, reading)
        kinds.update(outcome.kind for outcome in decided)
        after = records[-1][:3]


def _retry_chunk(
    cursor: Cursor,
    records: Sequence[RetriedRecord],
    rule: Rule,
    now: datetime,
    reading: Reading,
) -> list[RecordOutcome]:
    """Store the records that are valid now, and return the outcome of each record."""
    stored = outcomes.store_records(
        cursor,
        [_read(record, now, reading) for record in records],
        RetriedChunk(records, reading.field_names),
    )
    SessionCache(rule).apply(cursor, stored.new_events, others_write=False)
    _delete_retried(cursor, records, stored.outcomes)
    _update_reasons(cursor, records, stored.outcomes)
    _move_counters(cursor, records, stored.outcomes)
    return stored.outcomes


def _read(record: RetriedRecord, now: datetime, reading: Reading) -> Event | RecordOutcome:
    is_lost = record.value is None and record.reason != "no_value"
    if is_lost or record.reason in INCOMPLETE_REASONS:
        return RecordOutcome(OutcomeKind.REJECTED, record.reason, record.detail)
    origin = (record.topic, record.partition, record.offset)
    return read_event(
        _bytes(record.value),
        origin=origin,
        latest=now + reading.max_future,
        reading=reading,
        derived_event_id=record.derived_event_id,
    )


def _bytes(stored: memoryview | None) -> bytes | None:
    return None if stored is None else bytes(stored)


def _delete_retried(
    cursor: Cursor, records: Sequence[RetriedRecord], decided: Sequence[RecordOutcome]
) -> None:
    """Delete the rejected records that are stored as events now, or that are to be removed."""
    keys = [
        record[:3]
        for record, outcome in zip(records, decided, strict=True)
        if outcome.kind is not OutcomeKind.REJECTED
    ]
    execute_batch(cursor, DELETE_RETRIED, keys)


def _update_reasons(
    cursor: Cursor, records: Sequence[RetriedRecord], decided: Sequence[RecordOutcome]
) -> None:
    """Store the current reason for the records that stay rejected."""
    reasons = [
        (outcome.reason, outcome.detail, *record[:3])
        for record, outcome in zip(records, decided, strict=True)
        if outcome.kind is OutcomeKind.REJECTED
    ]
    execute_batch(cursor, UPDATE_REASON, reasons)


def _move_counters(
    cursor: Cursor, records: Sequence[RetriedRecord], decided: Sequence[RecordOutcome]
) -> None:
    """Subtract the records from the rejected ones, and add the duplicate and the removed ones."""
    kinds: dict[tuple[str, int], Counter[OutcomeKind]] = {}
    for record, outcome in zip(records, decided, strict=True):
        if outcome.kind is not OutcomeKind.REJECTED:
            kinds.setdefault((record.topic, record.partition), Counter())[outcome.kind] += 1
    moves = [
        {
            "topic": topic,
            "partition": partition,
            "forgotten": FORGOTTEN,
            "left": numbers.total(),
            "duplicates": numbers[OutcomeKind.DUPLICATE],
            "removed": numbers[OutcomeKind.REMOVED],
        }
        for (topic, partition), numbers in sorted(kinds.items())
    ]
    execute_batch(cursor, MOVE_COUNTERS, moves)
