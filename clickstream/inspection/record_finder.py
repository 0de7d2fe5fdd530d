"""Finding the record at an offset: rejected, not read yet, stored or a duplicate.

Events have no offset in PostgreSQL. A record that was read and not rejected is read from Kafka
again, and its event is looked up.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka.errors import KafkaError

from clickstream.clients.postgres import Connection
from clickstream.consumer.batch import first_bytes, read_record
from clickstream.consumer.failures import describe_outage
from clickstream.durations import format_time
from clickstream.errors import UserError
from clickstream.inspection import stored_events
from clickstream.inspection.answers import Answer, event_lines, rejection_lines
from clickstream.inspection.facts import fact, sentence
from clickstream.inspection.stored_events import StoredEvent
from clickstream.inspection.topic_reader import TopicReader
from clickstream.model.events import Event
from clickstream.model.named_visitors import visitors_of
from clickstream.reading_settings import reading_of
from clickstream.settings import Settings
from clickstream.storage import erased_visitors, event_retention
from clickstream.storage.outcomes import RecordOutcome
from clickstream.storage.rejected_table import record_time
from clickstream.storage.snapshot import snapshot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """Partition and offset of a record."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


def find_record(
    connection: Connection, settings: Settings, location: RecordLocation, now: datetime
) -> Answer:
    """Find out if a record is rejected, not read yet, stored or a duplicate.

    Raises UserError if Kafka is needed for that and cannot be reached.
    """
    partition, offset = location.partition, location.offset
    with snapshot(connection) as cursor:
        rejections = stored_events.rejections_at(cursor, settings.kafka_topic, partition, offset)
        read = stored_events.read_part(cursor, settings.kafka_topic, partition)
    if rejections:
        return Answer(True, list(rejection_lines(rejections)))
    if read is None or offset >= read.position:
        position = read.position if read else "the first"
        return _not_found(
            f"Record {location} is not read yet: the next record to read of partition {partition} "
            f"is {position}; the end of the partition is shown by: python -m clickstream status"
        )
    record = _read_again(settings, location, read.topic_id)
    if record is None:
        return _not_found(
            f"Record {location} was read and not rejected. Kafka has no record at this offset now, "
            "so its event cannot be looked up: retention removed it, the topic was recreated, or "
            "the offset belongs to a transaction."
        )
    return _find_event_of(record, connection, settings, now)


def _not_found(text: str) -> Answer:
    return Answer(False, sentence(text))


def _read_again(settings: Settings, location: RecordLocation, topic_id: str) -> Any | None:
    """Return the record, or None if this topic has none there."""
    try:
        with TopicReader(settings) as reader:
            if not reader.topic.partitions() or reader.topic.identity().topic_id != topic_id:
                return None
            return reader.record(location.partition, location.offset)
    except (KafkaError, OSError) as error:
        raise UserError(
            f"record {location} was read and not rejected; only Kafka has its event, and this "
            f"command failed to read it: {describe_outage(error, settings)}"
        ) from None


def _find_event_of(
    record: Any, connection: Connection, settings: Settings, now: datetime
) -> Answer:
    """Find the row with the event that the consumer's parser reads in a record."""
    reading = reading_of(settings)
    result = read_record(record, now + reading.max_future, reading)
    event = result if isinstance(result, Event) else result.event
    with snapshot(connection) as cursor:
        stored = stored_events.events_by_key(cursor, event.key) if event else []
        visitors = visitors_of(record.key, first_bytes(record.value), reading.field_names)
        erased = erased_visitors.find(cursor, erased_visitors.keys(cursor), visitors)
        kept_from = event_retention.read_kept_from(cursor)
    if stored:
        return Answer(True, [*fact("record", _role(record, stored[0])), *event_lines(stored)])
    if erased:
        location = f"{record.partition}:{record.offset}"
        erased_at = format_time(min(erased.values()))
        return _not_found(f"Record {location} was removed: its visitor was erased on {erased_at}.")
    return _not_found(_describe_missing(record, result, kept_from))


def _role(record: Any, stored: StoredEvent) -> str:
    """Describe if a record was stored or is a duplicate, as far as its timestamp shows that."""
    if stored.stored_at < EPOCH + timedelta(milliseconds=record.timestamp or 0):
        return "a duplicate: its event was stored before this record was sent"
    return "stored, or a duplicate of a record with the same event"


def _describe_missing(
    record: Any, result: Event | RecordOutcome, kept_from: datetime | None
) -> str:
    beginning = f"Record {record.partition}:{record.offset} was read"
    event = result if isinstance(result, Event) else result.event
    if kept_from and event and event.event_time < kept_from:
        return (
            f"{beginning}, and its event {event.event_id} of {format_time(event.event_time)} was "
            f"removed or never stored: events before {format_time(kept_from)} are not kept."
        )
    sent_at = record_time(record.timestamp)
    if kept_from and isinstance(result, RecordOutcome) and sent_at and sent_at < kept_from:
        return (
            f"{beginning} and rejected, and then removed: rejected records before "
            f"{format_time(kept_from)} are not kept."
        )
    if isinstance(result, RecordOutcome):
        return (
            f"{beginning}, and is no longer among the rejected records. By the settings here it is "
            f"rejected as {result.reason}: {result.detail}"
        )
    return (
        f"{beginning}, and its event {result.event_id} of {format_time(result.event_time)} is "
        "neither stored nor rejected: it was deleted, or the consumer has other settings."
    )
