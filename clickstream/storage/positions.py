"""Positions: what has been read of each partition, fenced by an epoch.

A position belongs to a log: a partition of one incarnation of a topic. It moves in the
transaction that stores what was read, and nothing ever starts from Kafka's own offsets. Each
owner of a partition takes a new epoch; whoever finds another one in the row is a zombie.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from psycopg2 import errors
from psycopg2.extras import execute_values

from clickstream.clients.postgres import Connection, Cursor
from clickstream.errors import UserError

logger = logging.getLogger(__name__)

# One advisory lock of the database: shared by batches, exclusive for whatever else changes
# sessions. The number is arbitrary; it spells "click".
WRITERS_LOCK = 0x636C69636B

SHARE_WITH_WRITERS = f"SELECT pg_advisory_xact_lock_shared({WRITERS_LOCK})"
STOP_WRITERS = f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"
BUMP_EVERY_EPOCH = "UPDATE stream_positions SET epoch = epoch + 1"

SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = %s"
ADD_PARTITIONS = """
    INSERT INTO stream_positions (topic, partition, topic_id, position)
    SELECT %(topic)s, partition, %(topic_id)s, position
    FROM unnest(%(partitions)s::integer[], %(beginnings)s::bigint[])
        AS new (partition, position)
    ORDER BY partition
    ON CONFLICT DO NOTHING
"""
LOCK = """
    SELECT partition, topic_id, position, epoch
    FROM stream_positions
    WHERE topic = %(topic)s AND partition = ANY (%(partitions)s)
    ORDER BY partition
    FOR UPDATE
"""
TAKE = """
    UPDATE stream_positions AS p
    SET topic_id = %(topic_id)s, position = new.position, epoch = p.epoch + 1,
        watermark = CASE WHEN p.topic_id = %(topic_id)s THEN p.watermark END,
        group_id = %(group)s, owner = %(owner)s,
        owner_pid = backend.pid, owner_start = backend.backend_start
    FROM (SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS backend,
         unnest(%(partitions)s::integer[], %(positions)s::bigint[]) AS new (partition, position)
    WHERE p.topic = %(topic)s AND p.partition = new.partition
    RETURNING p.partition, p.position, p.epoch, p.watermark
"""
# Owners that still have a connection; a frozen one holds its locks past every timeout.
END_OWNERS = """
    SELECT pg_terminate_backend(pid)
    FROM (SELECT DISTINCT a.pid
          FROM stream_positions p
          JOIN pg_stat_activity a ON a.pid = p.owner_pid AND a.backend_start = p.owner_start
          WHERE p.topic = %(topic)s AND p.partition = ANY (%(partitions)s)
            AND a.pid <> pg_backend_pid()) AS owners
"""
OTHER_GROUP = """
    SELECT p.group_id, p.owner
    FROM stream_positions p
    JOIN pg_stat_activity a ON a.pid = p.owner_pid AND a.backend_start = p.owner_start
    WHERE p.group_id <> %(group)s
    LIMIT 1
"""
FORGET_LOG = """
    UPDATE stream_positions SET topic_id = '' WHERE topic = %s AND partition = ANY (%s)
"""
FORGET_EVERY_LOG = "UPDATE stream_positions SET topic_id = '' WHERE topic = %s"
STORED = """
    SELECT partition, position FROM stream_positions WHERE topic = %s AND topic_id = %s
"""
MOVE = """
    UPDATE stream_positions AS p
    SET position = new.position,
        watermark = greatest(p.watermark, new.watermark),
        watermark_at = CASE WHEN new.watermark > p.watermark OR p.watermark IS NULL
                            THEN now() ELSE p.watermark_at END,
        last_record_at = CASE WHEN new.records > 0 THEN now() ELSE p.last_record_at END,
        records = p.records + new.records,
        duplicates = p.duplicates + new.duplicates,
        late = p.late + new.late,
        rejected = p.rejected + new.rejected
    FROM (VALUES %s)
        AS new (topic, partition, position, watermark, records, duplicates, late, rejected)
    WHERE p.topic = new.topic AND p.partition = new.partition
"""
MOVE_TEMPLATE = "(%s, %s, %s, %s::timestamptz, %s, %s, %s, %s)"

MAINTENANCE_WAIT = "30s"
OWNER_WAIT = "3s"
STOP_WAIT = "60s"
TAKE_SECONDS = 30


class FencedError(Exception):
    """Somebody else took over a partition, or the session rule changed: this cache is stale."""


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """One incarnation of a topic: its name and what Kafka calls this one."""

    name: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class OwnedPartition:
    """A partition under a current epoch. position: offset of the next record to read."""

    position: int
    epoch: int
    watermark: datetime | None


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """What one batch adds to one partition: where it ends, and counts of records."""

    position: int
    watermark: datetime | None
    records: int
    duplicates: int
    late: int
    rejected: int


def stop_writers(cursor: Cursor) -> None:
    """Keep every consumer out until this transaction ends, and make all of them drop their caches.

    For whatever changes sessions outside a batch. Waits for the batches that run now; raises
    UserError where one of them does not end.
    """
    cursor.execute(SET_LOCK_TIMEOUT, (STOP_WAIT,))
    try:
        cursor.execute(STOP_WRITERS)
    except errors.LockNotAvailable:
        raise UserError(
            f"a consumer or another command has been writing for more than {STOP_WAIT}: wait for "
            "it, or end its process if it is frozen, and run this again"
        ) from None
    cursor.execute(BUMP_EVERY_EPOCH)


def take(
    connection: Connection,
    topic: TopicIdentity,
    group: str,
    owner: str,
    beginning_offsets: Mapping[int, int],
) -> dict[int, OwnedPartition]:
    """Take a new epoch of partitions, in a transaction of its own.

    group, owner: the consumer group, and the consumer for people to recognise.
    beginning_offsets: the earliest offset that Kafka still has, by partition. A partition of
    another topic identity than the stored one begins there; so does one whose next record is
    gone, which is logged as an error.
    Raises UserError where another consumer group works on this database.
    """
    deadline = monotonic() + TAKE_SECONDS
    while True:
        try:
            with connection, connection.cursor() as cursor:
                return _take(cursor, topic, group, owner, beginning_offsets)
        except errors.LockNotAvailable:
            # Ended also at the last attempt: they may be what everybody waits for.
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    END_OWNERS, {"topic": topic.name, "partitions": list(beginning_offsets)}
                )
            if monotonic() > deadline:
                raise


def _take(
    cursor: Cursor,
    topic: TopicIdentity,
    group: str,
    owner: str,
    beginning_offsets: Mapping[int, int],
) -> dict[int, OwnedPartition]:
    _share_with_writers(cursor)
    _refuse_other_group(cursor, group)
    partitions = sorted(beginning_offsets)
    values = {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "partitions": partitions,
        "beginnings": [beginning_offsets[partition] for partition in partitions],
        "group": group,
        "owner": owner,
    }
    cursor.execute(SET_LOCK_TIMEOUT, (OWNER_WAIT,))
    cursor.execute(ADD_PARTITIONS, values)
    cursor.execute(LOCK, values)
    values["positions"] = _starts(topic, cursor.fetchall(), beginning_offsets)
    cursor.execute(TAKE, values)
    return {row[0]: OwnedPartition(*row[1:]) for row in cursor.fetchall()}


def _starts(
    topic: TopicIdentity,
    rows: Iterable[tuple[int, str, int, int]],
    beginning_offsets: Mapping[int, int],
) -> list[int]:
    """The offsets from which to read, given what is stored and what Kafka has."""
    starts = []
    other_logs = []
    for partition, topic_id, position, _ in rows:
        beginning = beginning_offsets[partition]
        if topic_id != topic.topic_id:
            other_logs.append(partition)
            position = beginning
        elif position < beginning:
            logger.error(
                "LOST: %d records of partition %d of topic %s (offsets %d to %d) were removed by "
                "Kafka's retention before they were read; going on from offset %d",
                beginning - position,
                partition,
                topic.name,
                position,
                beginning - 1,
                beginning,
            )
        starts.append(max(position, beginning))
    if other_logs:
        logger.warning(
            "reading partitions %s of topic %s from their beginnings: the topic was recreated, or "
            "a reset was asked for",
            other_logs,
            topic.name,
        )
    return starts


def _refuse_other_group(cursor: Cursor, group: str) -> None:
    cursor.execute(OTHER_GROUP, {"group": group})
    other = cursor.fetchone()
    if other:
        raise UserError(
            f"consumer group {other[0]!r} ({other[1]}) works on this database, and positions are "
            f"per database: stop it before you start group {group!r}, or set "
            f"KAFKA_GROUP_ID={other[0]} to share its work"
        )


def _share_with_writers(cursor: Cursor) -> None:
    cursor.execute(SET_LOCK_TIMEOUT, (MAINTENANCE_WAIT,))
    cursor.execute(SHARE_WITH_WRITERS)


def lock(cursor: Cursor, topic: str, epochs: Mapping[int, int]) -> None:
    """Lock the rows of all partitions held until the transaction ends.

    epochs: by partition, as taken. Raises FencedError where one has changed since.
    """
    _share_with_writers(cursor)
    cursor.execute(LOCK, {"topic": topic, "partitions": list(epochs)})
    stored = {partition: epoch for partition, _, _, epoch in cursor.fetchall()}
    if stored != dict(epochs):
        raise FencedError(f"the epochs of topic {topic} are {stored}, not {dict(epochs)}")


def move(cursor: Cursor, topic: str, progress: Mapping[int, PartitionProgress]) -> None:
    """Move positions, watermarks and counters; the rows must be locked."""
    rows = [
        (topic, partition, t.position, t.watermark, t.records, t.duplicates, t.late, t.rejected)
        for partition, t in sorted(progress.items())
    ]
    if rows:
        execute_values(cursor, MOVE, rows, template=MOVE_TEMPLATE)


def forget_log(cursor: Cursor, topic: str, partitions: Collection[int]) -> None:
    """Let the next owner read these partitions from their beginnings."""
    cursor.execute(FORGET_LOG, (topic, list(partitions)))


def forget_every_log(cursor: Cursor, topic: str) -> int:
    """Let the next owners read a topic from its beginning; the number of partitions."""
    cursor.execute(FORGET_EVERY_LOG, (topic,))
    return int(cursor.rowcount)


def stored(cursor: Cursor, topic: TopicIdentity) -> dict[int, int]:
    """The stored position of each partition of which anything was read."""
    cursor.execute(STORED, (topic.name, topic.topic_id))
    return dict(cursor.fetchall())
