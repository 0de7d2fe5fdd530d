"""The outcome of each record: new, duplicate, rejected or removed.

Only this module decides it, for the consumer's batches and for `rejected retry`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol

from clickstream.clients.postgres import Cursor
from clickstream.model.events import Event, InvalidEventError
from clickstream.model.parse import parse
from clickstream.model.reading import Reading
from clickstream.storage import erased_visitors, event_retention, event_table
from clickstream.storage.event_table import IDENTITY_COLUMNS, Identity, Insertion, identity


class OutcomeKind(Enum):
    """The row that a record becomes or equals; each record has exactly one kind."""

    NEW = "a new row of clickstream_events"
    DUPLICATE = "a row of clickstream_events or rejected_events that was stored before"
    REJECTED = "a row of rejected_events"
    REMOVED = "no row, because what it holds was removed on purpose"


class RecordOutcome(NamedTuple):
    """The outcome of one record.

    If it is rejected: reason and detail are a code and a sentence, and event is the event that an
    earlier version may have made of the record, if there is one. is_too_far_ahead: its time is more
    than MAX_FUTURE_SECONDS ahead of now.
    """

    kind: OutcomeKind
    reason: str = ""
    detail: str = ""
    event: Event | None = None
    is_too_far_ahead: bool = False


NEW = RecordOutcome(OutcomeKind.NEW)
DUPLICATE = RecordOutcome(OutcomeKind.DUPLICATE)
REMOVED = RecordOutcome(OutcomeKind.REMOVED)


@dataclass(frozen=True, slots=True)
class StoredRecords:
    """The outcomes of records in their order, and the new events in the order of their keys."""

    outcomes: list[RecordOutcome]
    new_events: list[Event]


class RecordDetails(Protocol):
    """Details of records besides their events; used for rejected records only."""

    def time_of(self, index: int) -> datetime | None:
        """Return the time of the record with an index, if it has one."""

    def visitors_of(self, index: int) -> set[str]:
        """Return the visitors that can be read in key and value of the record with an index."""


def read_event(
    value: bytes | None,
    *,
    origin: tuple[str, int, int],
    latest: datetime,
    reading: Reading,
    derived_event_id: str | None = None,
) -> Event | RecordOutcome:
    """Return the event in a record's value, or the outcome of a record without one.

    origin, latest, reading, derived_event_id: see `parse`.
    """
    try:
        return parse(
            value,
            origin=origin,
            latest=latest,
            reading=reading,
            derived_event_id=derived_event_id,
        )
    except InvalidEventError as error:
        return RecordOutcome(
            OutcomeKind.REJECTED, error.reason, error.detail, error.event, error.is_too_far_ahead
        )


def store_records(
    cursor: Cursor,
    records: Sequence[Event | RecordOutcome],
    details: RecordDetails,
    *,
    some_are_stored: bool = False,
) -> StoredRecords:
    """Insert the events among records, and decide the outcome of each record.

    Of the events with one key, the first that PostgreSQL accepts is inserted. Events before
    kept_from are only looked up: the record of a stored one is a duplicate, any other is removed,
    and so is a rejected record before kept_from. Events of erased visitors are removed, and so are
    rejected records that name one.
    records: as `read_event` returns them. An outcome stays as it is, unless an earlier version
    stored the event that is rejected now: then the record is a duplicate.
    some_are_stored: see `event_table.insert`.
    """
    kept_from = event_retention.read_kept_from(cursor)
    erasure_keys = erased_visitors.keys(cursor)
    if erasure_keys:
        records = _remove_erased(cursor, records, erasure_keys)
    events = [each for each in records if isinstance(each, Event)]
    too_old = []
    if kept_from is not None:
        too_old = [event for event in events if event.event_time < kept_from]
        events = [event for event in events if event.event_time >= kept_from]
    insertion = event_table.insert(cursor, events, some_are_stored=some_are_stored)
    if len(insertion.new) == len(records):
        return StoredRecords([NEW] * len(records), insertion.new)
    rejected = [each for each in records if isinstance(each, RecordOutcome)]
    looked_up = too_old + [each.event for each in rejected if each.event]
    if looked_up:
        keys = [event.key for event in looked_up]
        insertion.stored_before |= event_table.read_identities(cursor, keys)
    outcomes = _decide_all(records, insertion)
    if kept_from is not None:
        _remove_old_rejections(outcomes, records, kept_from, details)
    if erasure_keys:
        _remove_rejections_of_erased(cursor, outcomes, details, erasure_keys)
    return StoredRecords(outcomes, insertion.new)


def _remove_erased(
    cursor: Cursor, records: Sequence[Event | RecordOutcome], keys: Sequence[bytes]
) -> list[Event | RecordOutcome]:
    """Return the records with REMOVED in place of the events of erased visitors.

    keys: the keys of the hashes.
    """
    visitors = {each.user_id for each in records if isinstance(each, Event)}
    erased = erased_visitors.find(cursor, keys, visitors)
    return [
        REMOVED if isinstance(each, Event) and each.user_id in erased else each for each in records
    ]


def _remove_rejections_of_erased(
    cursor: Cursor,
    outcomes: list[RecordOutcome],
    details: RecordDetails,
    keys: Sequence[bytes],
) -> None:
    """Replace the outcomes of rejected records that name an erased visitor.

    keys: the keys of the hashes.
    """
    named = {
        index: details.visitors_of(index)
        for index, outcome in enumerate(outcomes)
        if outcome.kind is OutcomeKind.REJECTED
    }
    erased = erased_visitors.find(cursor, keys, set().union(*named.values()))
    for index, visitors in named.items():
        if not visitors.isdisjoint(erased):
            outcomes[index] = REMOVED


def _remove_old_rejections(
    outcomes: list[RecordOutcome],
    records: Sequence[Event | RecordOutcome],
    kept_from: datetime,
    details: RecordDetails,
) -> None:
    """Replace the outcomes of rejected records that are older than kept_from, or their events."""
    for index, (outcome, record) in enumerate(zip(outcomes, records, strict=True)):
        if outcome.kind is OutcomeKind.REJECTED:
            event = record if isinstance(record, Event) else record.event
            times = (event and event.event_time, details.time_of(index))
            if any(time is not None and time < kept_from for time in times):
                outcomes[index] = REMOVED


def _decide_all(
    records: Sequence[Event | RecordOutcome], insertion: Insertion
) -> list[RecordOutcome]:
    """Return the outcome of each record, given what is stored now."""
    # Of two records with equal events only one is the new row.
    new = set(map(id, insertion.new))
    return [NEW if id(each) in new else _decide(each, insertion) for each in records]


def _decide(record: Event | RecordOutcome, insertion: Insertion) -> RecordOutcome:
    """Return the outcome of a record whose event is not a new row."""
    if isinstance(record, RecordOutcome):
        return _confirm(record, insertion)
    stored = insertion.stored_identity(record.key)
    if stored is None:
        if record not in insertion.refused:
            return REMOVED
        return RecordOutcome(OutcomeKind.REJECTED, "refused_by_postgres", insertion.refused[record])
    return DUPLICATE if identity(record) == stored else _conflict(identity(record), stored)


def _conflict(event: Identity, stored: Identity) -> RecordOutcome:
    """Return the outcome of an event that has the key of a stored event, but other content."""
    pairs = zip(IDENTITY_COLUMNS, event, stored, strict=True)
    different = ", ".join(name for name, ours, theirs in pairs if ours != theirs)
    return RecordOutcome(
        OutcomeKind.REJECTED,
        "event_id_conflict",
        f"An event with the same event_id and timestamp but another {different} is stored.",
    )


def _confirm(outcome: RecordOutcome, insertion: Insertion) -> RecordOutcome:
    """Return the outcome of a record without a valid event, given what is stored now."""
    event = outcome.event
    if event and insertion.stored_identity(event.key) == identity(event):
        return DUPLICATE
    return outcome
