"""The status of the pipeline: progress of each partition, owners, backlog, rejected records."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from kafka.errors import KafkaError

from clickstream.clients.addresses import kafka_address
from clickstream.clients.postgres import Connection, connect_or_explain, only_row
from clickstream.consumer.failures import describe_outage
from clickstream.indexer import backlog
from clickstream.indexer.backlog import Backlog
from clickstream.inspection.topic_reader import TopicReader, UnreadRecords
from clickstream.settings import Settings
from clickstream.storage import event_retention
from clickstream.storage.positions import IS_OWNER
from clickstream.storage.query_rows import select_as
from clickstream.storage.snapshot import snapshot, snapshot_time

APPLICATION = "clickstream inspection"

# A partition has an owner while the owner's connection exists.
SELECT_STORED_PROGRESS = f"""
    SELECT p.partition, p.topic_id, p.position, p.watermark,
           greatest(p.last_record_at, p.caught_up_at) AS last_commit,
           CASE WHEN a.pid IS NOT NULL THEN p.owner END AS owner
    FROM stream_positions p
    LEFT JOIN pg_stat_activity a ON {IS_OWNER}
    WHERE p.topic = %(topic)s
    ORDER BY p.partition
"""  # noqa: S608 - built of constants
COUNT_REJECTED_LAST_HOUR = """
    SELECT count(*) FROM rejected_events WHERE rejected_at > now() - interval '1 hour'
"""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """Progress of one partition. A value is None if it is unknown or if there is none.

    position: offset of the next record to read. end: the end offset in Kafka. lag_seconds: age of
    the oldest record that is not read, by its timestamp in Kafka; 0 if all are read. last_commit:
    when the owner last stored records or found that there are none. owner: host and process of the
    consumer that reads the partition.
    """

    partition: int
    position: int | None
    end: int | None
    lag_records: int | None
    lag_seconds: float | None
    watermark: datetime | None
    last_commit: datetime | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """Status of a topic's consumers at one time; the names of the fields are those of the JSON.

    total_lag_records: None if Kafka cannot be reached; kafka_error then says why. search_backlog:
    None if OPENSEARCH_HOST is empty. kept_from: earlier events are not kept; None if all are.
    """

    time: datetime
    database: str
    topic: str
    group: str
    partitions: list[PartitionStatus]
    total_lag_records: int | None
    rejected_last_hour: int
    search_backlog: Backlog | None
    kept_from: datetime | None
    kafka_error: str | None

    @property
    def owners(self) -> dict[str, list[int]]:
        """The partitions of each consumer that works now."""
        owners: dict[str, list[int]] = {}
        for each in self.partitions:
            if each.owner is not None:
                owners.setdefault(each.owner, []).append(each.partition)
        return owners

    @property
    def is_stalled(self) -> bool:
        """True if there are unread records and no consumer."""
        return bool(self.total_lag_records) and not self.owners


@dataclass(frozen=True, slots=True)
class StoredProgress:
    """A row of SELECT_STORED_PROGRESS."""

    partition: int
    topic_id: str
    position: int
    watermark: datetime | None
    last_commit: datetime | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """PostgreSQL's part of the status."""

    time: datetime
    progress: list[StoredProgress]
    rejected_last_hour: int
    search_backlog: Backlog | None
    kept_from: datetime | None


@dataclass(frozen=True, slots=True)
class TopicLag:
    """Kafka's part of the status: the topic's id, and the records that are not read, by partition.

    error: why they could not be read from Kafka; the rest is then empty.
    """

    topic_id: str = ""
    unread: Mapping[int, UnreadRecords] = field(default_factory=dict)
    error: str | None = None


def read_status(settings: Settings) -> PipelineStatus:
    """Read the status from PostgreSQL and Kafka.

    If Kafka cannot be reached, the status has only the values of PostgreSQL. Raises UserError if
    PostgreSQL cannot be reached.
    """
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        stored = _read_stored(connection, settings)
    lag = _read_lag(settings, stored.progress)
    partitions = _partitions(stored, lag)
    return PipelineStatus(
        time=stored.time,
        database=settings.postgres_database,
        topic=settings.kafka_topic,
        group=settings.kafka_group_id,
        partitions=partitions,
        total_lag_records=None if lag.error else sum(each.lag_records or 0 for each in partitions),
        rejected_last_hour=stored.rejected_last_hour,
        search_backlog=stored.search_backlog,
        kept_from=stored.kept_from,
        kafka_error=lag.error,
    )


def _read_stored(connection: Connection, settings: Settings) -> StoredStatus:
    with snapshot(connection) as cursor:
        cursor.execute(COUNT_REJECTED_LAST_HOUR)
        (rejected,) = only_row(cursor)
        return StoredStatus(
            time=snapshot_time(cursor),
            progress=select_as(
                StoredProgress, cursor, SELECT_STORED_PROGRESS, {"topic": settings.kafka_topic}
            ),
            rejected_last_hour=rejected,
            search_backlog=backlog.read(cursor) if settings.opensearch_host else None,
            kept_from=event_retention.read_kept_from(cursor),
        )


def _read_lag(settings: Settings, progress: Sequence[StoredProgress]) -> TopicLag:
    """Read the topic. Positions of an earlier topic with the same name are ignored."""
    try:
        with TopicReader(settings) as reader:
            if not reader.topic.partitions():
                return TopicLag(error=missing_topic(settings))
            topic_id = reader.topic.identity().topic_id
            current = {p.partition: p.position for p in progress if p.topic_id == topic_id}
            return TopicLag(topic_id, reader.unread(current))
    except (KafkaError, OSError) as error:
        return TopicLag(error=describe_outage(error, settings))


def missing_topic(settings: Settings) -> str:
    """Return the sentence about a topic that does not exist, without its full stop."""
    return (
        f"topic {settings.kafka_topic} does not exist on {kafka_address(settings)}, or this user "
        "may not see it; create it with: python create_schema.py"
    )


def _partitions(stored: StoredStatus, lag: TopicLag) -> list[PartitionStatus]:
    """Return the status of each partition that Kafka or PostgreSQL knows."""
    progress = {each.partition: each for each in stored.progress}
    return [
        _partition(number, progress.get(number), lag, stored.time)
        for number in sorted({*progress, *lag.unread})
    ]


def _partition(
    number: int, progress: StoredProgress | None, lag: TopicLag, now: datetime
) -> PartitionStatus:
    if progress and lag.topic_id not in ("", progress.topic_id):
        progress = None
    unread = lag.unread.get(number)
    return PartitionStatus(
        partition=number,
        position=progress.position if progress else None,
        end=unread.end if unread else None,
        lag_records=unread.number if unread else None,
        lag_seconds=_lag_seconds(unread, now) if unread else None,
        watermark=progress.watermark if progress else None,
        last_commit=progress.last_commit if progress else None,
        owner=progress.owner if progress else None,
    )


def _lag_seconds(unread: UnreadRecords, now: datetime) -> float | None:
    if not unread.number:
        return 0.0
    if unread.oldest_at is None:
        return None
    return max(0.0, (now - unread.oldest_at).total_seconds())
