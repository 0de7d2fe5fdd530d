"""Stored positions: the next offset of each partition, protected by an epoch.

A position belongs to a topic identity. It moves in the transaction that stores the records before
it, and no consumer ever starts from Kafka's committed offsets. A consumer that acquires a
partition increases its epoch; a consumer that finds another epoch in the row than its own has lost
the partition.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg2 import errors
from psycopg2.extras import execute_values

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.errors import UserError
from clickstream.storage import write_lock

logger = logging.getLogger(__name__)

INSERT_POSITIONS = """
    INSERT INTO stream_positions (topic, partition, topic_id, position)
    SELECT %(topic)s, partition, %(topic_id)s, position
    FROM unnest(%(partitions)s::integer[], %(beginnings)s::bigint[])
        AS new (partition, position)
    ORDER BY partition
    ON CONFLICT DO NOTHING
"""
LOCK_POSITIONS = """
    SELECT partition, topic_id, position, epoch
    FROM stream_positions
    WHERE topic = %(topic)s AND partition = ANY (%(partitions)s)
    ORDER BY partition
    FOR UPDATE
"""
ACQUIRE_PARTITIONS = """
    UPDATE stream_positions AS p
    SET topic_id = %(topic_id)s, position = new.position, epoch = p.epoch + 1,
        watermark = CASE WHEN p.topic_id = %(topic_id)s THEN p.watermark END,
        cluster_id = %(cluster)s, group_id = %(group)s, owner = %(owner)s, member_id = %(member)s,
        owner_pid = backend.pid, owner_start = backend.backend_start
    FROM (SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS backend,
         unnest(%(partitions)s::integer[], %(positions)s::bigint[]) AS new (partition, position)
    WHERE p.topic = %(topic)s AND p.partition = new.partition
    RETURNING p.partition, p.position, p.epoch, p.watermark
"""
# Ends all connections of the partitions' owners: an owner may lock a partition with any of them.
# Also ends connections of other owners that have waited for their client in a transaction for a
# while: a frozen consumer holds its locks past every timeout.
TERMINATE_OWNERS = """
    SELECT pg_terminate_backend(pid)
    FROM (SELECT DISTINCT a.pid
          FROM stream_positions p
          JOIN pg_stat_activity a ON a.pid = p.owner_pid AND a.backend_start = p.owner_start
          WHERE a.pid <> ALL (%(backends)s)
            AND ((p.owner, coalesce(p.member_id, '')) IN (
                     SELECT owner, coalesce(member_id, '') FROM stream_positions
                     WHERE topic = %(topic)s AND partition = ANY (%(partitions)s))
                 OR a.wait_event_type = 'Client' AND a.state <> 'idle'
                    AND a.state_change < clock_timestamp() - %(frozen_after)s)) AS owners
"""
# The condition that backend a of pg_stat_activity is the owner of position p, which still has its
# connection. Roles without pg_read_all_stats do not see the start of other roles' backends.
IS_OWNER = """
    a.pid = p.owner_pid AND a.datname = current_database()
    AND coalesce(a.backend_start, p.owner_start) = p.owner_start
"""
_OWNED = f"stream_positions p JOIN pg_stat_activity a ON {IS_OWNER}"
# An owner that reads another topic, Kafka cluster or consumer group. Until version 3 the cluster
# was not stored.
SELECT_OTHER_OWNER = f"""
    SELECT p.owner, p.group_id, p.topic
    FROM {_OWNED}
    WHERE p.owner_pid <> ALL (%(backends)s)
      AND (p.group_id, p.topic, coalesce(p.cluster_id, %(cluster)s, ''))
          <> (%(group)s, %(topic)s, coalesce(%(cluster)s, p.cluster_id, ''))
    LIMIT 1
"""  # noqa: S608 - built of constants
SELECT_OWNED_PARTITIONS = f"SELECT p.partition FROM {_OWNED} WHERE p.topic = %s"  # noqa: S608
# The number of these partitions that still name this consumer as their owner.
COUNT_OWN_PARTITIONS = f"""
    SELECT count(*) FROM {_OWNED}
    WHERE p.topic = %(topic)s AND p.partition = ANY (%(partitions)s) AND a.pid = ANY (%(backends)s)
"""  # noqa: S608 - built of constants
# Members of the group whose connection has ended, as it does with their process. A partition that
# nobody has acquired yet may still name a member that has lost it and has a new connection.
SELECT_GONE_MEMBERS = f"""
    SELECT p.member_id FROM stream_positions p
    WHERE p.topic = %(topic)s AND p.group_id = %(group)s AND p.member_id IS NOT NULL
    EXCEPT SELECT p.member_id FROM {_OWNED}
"""  # noqa: S608 - built of constants
FORGET_MEMBER = """
    UPDATE stream_positions SET member_id = NULL WHERE owner_pid = ANY (%s)
"""
# Taken to acquire partitions, so that of two owners the second one sees the first. The number is
# arbitrary; it spells "owner".
OWNERSHIP_LOCK = 0x6F776E6572
ACQUIRE_OWNERSHIP_LOCK = f"SELECT pg_advisory_xact_lock({OWNERSHIP_LOCK})"
_HAS_OTHER_OWNERS = """
    EXISTS (SELECT FROM stream_positions
            WHERE owner IS NOT NULL
              AND NOT (topic = %(topic)s AND partition = ANY (%(owned)s)))
"""
# Keeps others from acquiring partitions, if none owns one.
SHARE_OWNERSHIP_LOCK = f"""
    SELECT pg_advisory_xact_lock_shared({OWNERSHIP_LOCK}) WHERE NOT {_HAS_OTHER_OWNERS};
"""
SELECT_HAS_OTHER_OWNERS = f"SELECT {_HAS_OTHER_OWNERS}"
# No topic has an empty id, so the next owner starts from the beginning.
RESET_PARTITIONS = """
    UPDATE stream_positions SET topic_id = '' WHERE topic = %s AND partition = ANY (%s)
"""
RESET_TOPIC = "UPDATE stream_positions SET topic_id = '' WHERE topic = %s"
# The counters of forgotten partitions are added up in one row, so that all records still count.
FORGET_PARTITIONS = """
    WITH forgotten AS (
        DELETE FROM stream_positions
        WHERE topic = %(topic)s AND partition = ANY (%(partitions)s)
        RETURNING records, duplicates, late, rejected, removed)
    INSERT INTO stream_positions AS p
        (topic, partition, topic_id, records, duplicates, late, rejected, removed)
    SELECT %(kept_as)s, 0, '', sum(records), sum(duplicates), sum(late), sum(rejected), sum(removed)
    FROM forgotten
    ON CONFLICT (topic, partition) DO UPDATE
    SET records = p.records + excluded.records,
        duplicates = p.duplicates + excluded.duplicates,
        late = p.late + excluded.late,
        rejected = p.rejected + excluded.rejected,
        removed = p.removed + excluded.removed
"""
SELECT_PARTITIONS = "SELECT partition FROM stream_positions WHERE topic = %s"
SELECT_POSITIONS = """
    SELECT partition, position FROM stream_positions WHERE topic = %s AND topic_id = %s
"""
MOVE_POSITIONS = """
    UPDATE stream_positions AS p
    SET position = new.position,
        watermark = greatest(p.watermark, new.watermark),
        watermark_at = CASE WHEN new.watermark > p.watermark OR p.watermark IS NULL
                            THEN now() ELSE p.watermark_at END,
        last_record_at = CASE WHEN new.records > 0 THEN now() ELSE p.last_record_at END,
        records = p.records + new.records,
        duplicates = p.duplicates + new.duplicates + new.restored,
        late = p.late + new.late,
        -- A record that became an event when it was read again is one row and one duplicate.
        rejected = p.rejected + new.rejected - new.restored,
        removed = p.removed + new.removed
    FROM (VALUES %s)
        AS new (topic, partition, position, watermark,
                records, duplicates, late, rejected, restored, removed)
    WHERE p.topic = new.topic AND p.partition = new.partition
"""
MOVE_TEMPLATE = "(%s, %s, %s, %s::timestamptz, %s, %s, %s, %s, %s, %s)"

ACQUIRE_LOCK_TIMEOUT = "3s"
ACQUIRE_RETRIES = 10
# Within a transaction a consumer computes for seconds at most.
FROZEN_AFTER = timedelta(seconds=15)


# In place of a topic in the rows that count forgotten partitions and removed events: no topic can
# have parentheses in its name.
FORGOTTEN = "(forgotten)"
REMOVED_EVENTS = "(removed)"


class FencedError(Exception):
    """Raised when a consumer may no longer write: its epochs or its session rule are not current.

    The consumer drops its cache and acquires its partitions again.
    """


class IncreasedEpochsError(FencedError):
    """Raised when a command has increased the epochs of partitions that nobody else has acquired.

    Every consumer has to drop its cache; none has lost its partitions.
    """


class OtherClusterError(FencedError):
    """Raised when a consumer of another Kafka cluster works on this database."""


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """A topic's name and its id, which changes if the topic is recreated.

    cluster_id: id of its Kafka cluster; None if the brokers give none.
    """

    name: str
    topic_id: str
    cluster_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Owner:
    """A consumer, as it is stored with the partitions that it acquires.

    name: by which people recognise it. member_id: its id in the group. backends: process ids in
    PostgreSQL of all its connections that acquire partitions.
    """

    name: str
    group: str
    member_id: str | None
    backends: Sequence[int]


@dataclass(frozen=True, slots=True)
class OwnedPartition:
    """A partition that a consumer owns.

    position: offset of the next record to read. epoch: that of the stored row while this consumer
    is the owner.
    """

    position: int
    epoch: int
    watermark: datetime | None


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """Progress of one partition in a batch: position and watermark after it, counts of records.

    too_far_ahead: the rejected records with a time more than MAX_FUTURE_SECONDS ahead of now.
    restored: the records that were rejected when they were read before, and are no longer.
    removed: the records of which nothing is stored, because it was removed on purpose.
    """

    position: int
    watermark: datetime | None
    records: int
    duplicates: int
    late: int
    rejected_by_reason: Mapping[str, int]
    too_far_ahead: int
    restored: int = 0
    removed: int = 0

    @property
    def rejected(self) -> int:
        """The number of rejected records."""
        return sum(self.rejected_by_reason.values())


class StoredPosition(NamedTuple):
    """A row of LOCK_POSITIONS."""

    partition: int
    topic_id: str
    position: int
    epoch: int


def acquire(
    connection: Connection,
    topic: TopicIdentity,
    owner: Owner,
    beginning_offsets: Mapping[int, int],
) -> dict[int, OwnedPartition]:
    """Become the owner of partitions, in a transaction of its own.

    If a lock is held for longer than ACQUIRE_LOCK_TIMEOUT, the owners of these partitions are
    disconnected from PostgreSQL, and so are owners of other partitions frozen in a transaction.
    connection: one of the owner's.
    beginning_offsets: the earliest offset that Kafka still has, by partition. A partition starts
    there if its stored position belongs to another topic identity, or if the record at that
    position is gone, which is logged as an error.
    Raises UserError if a consumer of another topic or group works on this database,
    OtherClusterError if one of another cluster does, and LockNotAvailable if a lock is still held
    after ACQUIRE_RETRIES.
    """
    for _ in range(ACQUIRE_RETRIES):
        try:
            with connection, connection.cursor() as cursor:
                return _acquire(cursor, topic, owner, beginning_offsets)
        except errors.LockNotAvailable:
            _terminate_owners(connection, topic, owner, beginning_offsets)
    with connection, connection.cursor() as cursor:
        return _acquire(cursor, topic, owner, beginning_offsets)


def _acquire(
    cursor: Cursor,
    topic: TopicIdentity,
    owner: Owner,
    beginning_offsets: Mapping[int, int],
) -> dict[int, OwnedPartition]:
    partitions = sorted(beginning_offsets)
    values = {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "cluster": topic.cluster_id,
        "partitions": partitions,
        "beginnings": [beginning_offsets[partition] for partition in partitions],
        "owner": owner.name,
        "group": owner.group,
        "member": owner.member_id,
        "backends": list(owner.backends),
    }
    write_lock.share(cursor, ACQUIRE_LOCK_TIMEOUT)
    cursor.execute(ACQUIRE_OWNERSHIP_LOCK)
    _refuse_other_owner(cursor, values)
    cursor.execute(INSERT_POSITIONS, values)
    cursor.execute(LOCK_POSITIONS, values)
    stored = [StoredPosition(*row) for row in cursor.fetchall()]
    values["positions"] = _starting_offsets(topic, stored, beginning_offsets)
    cursor.execute(ACQUIRE_PARTITIONS, values)
    return {row[0]: OwnedPartition(*row[1:]) for row in cursor.fetchall()}


def _terminate_owners(
    connection: Connection, topic: TopicIdentity, by: Owner, partitions: Collection[int]
) -> None:
    with connection, connection.cursor() as cursor:
        values = {
            "topic": topic.name,
            "partitions": list(partitions),
            "frozen_after": FROZEN_AFTER,
            "backends": list(by.backends),
        }
        cursor.execute(TERMINATE_OWNERS, values)


def _starting_offsets(
    topic: TopicIdentity, stored: Sequence[StoredPosition], beginning_offsets: Mapping[int, int]
) -> list[int]:
    """Return the offset to read each stored partition from."""
    others = [each.partition for each in stored if each.topic_id != topic.topic_id]
    if others:
        logger.warning(
            "reading partitions %s of topic %s from the beginning: the topic was recreated, or "
            "its positions were reset",
            others,
            topic.name,
        )
    starts = []
    for each in stored:
        beginning = beginning_offsets[each.partition]
        if each.topic_id == topic.topic_id:
            _report_loss(topic, each, beginning)
            starts.append(max(each.position, beginning))
        else:
            starts.append(beginning)
    return starts


def _report_loss(topic: TopicIdentity, stored: StoredPosition, beginning: int) -> None:
    """Log an error if Kafka has removed records before they were read."""
    if stored.position < beginning:
        logger.error(
            "LOST: %d records of partition %d of topic %s (offsets %d to %d) were removed by "
            "Kafka's retention before they were read; continuing at offset %d",
            beginning - stored.position,
            stored.partition,
            topic.name,
            stored.position,
            beginning - 1,
            beginning,
        )


def _refuse_other_owner(cursor: Cursor, values: Mapping[str, Any]) -> None:
    """Raise an error if a consumer of another topic, Kafka cluster or group works here.

    values: those of the consumer that acquires partitions.
    """
    cursor.execute(SELECT_OTHER_OWNER, values)
    other = cursor.fetchone()
    if other is None:
        return
    owner, group, topic = other
    if topic != values["topic"]:
        raise UserError(
            f"a consumer ({owner}) stores topic {topic!r} in this database, which can hold one "
            f"topic: stop it before you store topic {values['topic']!r}, or use another database"
        )
    if group != values["group"]:
        raise UserError(
            f"consumer group {group!r} ({owner}) works on this database, and positions are "
            f"per database: stop it before you start group {values['group']!r}, or set "
            f"KAFKA_GROUP_ID={group} to share its work"
        )
    raise OtherClusterError(
        f"a consumer ({owner}) stores topic {topic!r} of another Kafka cluster in this database: "
        "stop it before you store that of this cluster, or use another database"
    )


def lock(
    cursor: Cursor,
    topic: str,
    epochs: Mapping[int, int],
    *,
    owned: Collection[int],
    backends: Collection[int],
    alone: bool = False,
) -> bool:
    """Lock the rows of partitions until the transaction ends.

    Return True if another consumer owns partitions, too, also one of another topic. If none does,
    none can acquire one until the transaction ends. A consumer that has stopped is an owner until
    another one acquires its partitions.
    epochs: the acquired epochs of the partitions to lock. owned: all partitions that this consumer
    owns. backends: see `Owner`. alone: no other batch is stored until the transaction ends.
    Raises FencedError if an epoch has changed since; IncreasedEpochsError if a command changed it.
    """
    values = {
        "topic": topic,
        "partitions": list(epochs),
        "owned": list(owned),
        "backends": list(backends),
    }
    cursor.execute(
        write_lock.statements_for_batch(alone=alone) + SHARE_OWNERSHIP_LOCK + LOCK_POSITIONS, values
    )
    stored = {partition: epoch for partition, _, _, epoch in cursor.fetchall()}
    if stored != dict(epochs):
        cursor.execute(COUNT_OWN_PARTITIONS, values)
        if only_row(cursor)[0] == len(epochs):
            raise IncreasedEpochsError(f"a command has increased the epochs of topic {topic}")
        raise FencedError(
            f"another consumer or a command has increased the epochs of topic {topic}: they are "
            f"{stored}, not {dict(sorted(epochs.items()))}"
        )
    # If there is no other owner now, there was none above, and the ownership lock is held: what
    # removes an owner needs the write lock alone.
    cursor.execute(SELECT_HAS_OTHER_OWNERS, values)
    return bool(only_row(cursor)[0])


def move(cursor: Cursor, topic: str, progress: Mapping[int, PartitionProgress]) -> None:
    """Move positions, watermarks and counters; the rows must be locked."""
    rows = [
        (
            *(topic, partition, p.position, p.watermark),
            *(p.records, p.duplicates, p.late, p.rejected, p.restored, p.removed),
        )
        for partition, p in sorted(progress.items())
    ]
    if rows:
        execute_values(cursor, MOVE_POSITIONS, rows, template=MOVE_TEMPLATE)


def reset(cursor: Cursor, topic: str, partitions: Collection[int]) -> None:
    """Make the next owner read these partitions from the beginning."""
    cursor.execute(RESET_PARTITIONS, (topic, list(partitions)))


def reset_topic(cursor: Cursor, topic: str) -> int:
    """Make the next owners read a topic from the beginning; return the number of partitions."""
    cursor.execute(RESET_TOPIC, (topic,))
    return int(cursor.rowcount)


def stored_partitions(cursor: Cursor, topic: str) -> list[int]:
    """Return the partitions of a topic that have a position."""
    cursor.execute(SELECT_PARTITIONS, (topic,))
    return [partition for (partition,) in cursor.fetchall()]


def forget(cursor: Cursor, topic: str, partitions: Collection[int]) -> None:
    """Delete the positions of partitions, and add their counters to the row FORGOTTEN."""
    values = {"topic": topic, "partitions": list(partitions), "kept_as": FORGOTTEN}
    cursor.execute(FORGET_PARTITIONS, values)


def read(cursor: Cursor, topic: TopicIdentity) -> dict[int, int]:
    """Return the stored positions of a topic by partition."""
    cursor.execute(SELECT_POSITIONS, (topic.name, topic.topic_id))
    return dict(cursor.fetchall())


def owned(cursor: Cursor, topic: str) -> set[int]:
    """Return the partitions whose owner is connected to this database."""
    cursor.execute(SELECT_OWNED_PARTITIONS, (topic,))
    return {partition for (partition,) in cursor.fetchall()}


def gone_members(cursor: Cursor, topic: str, group: str) -> set[str]:
    """Return the ids of members that own partitions and have lost their connection."""
    cursor.execute(SELECT_GONE_MEMBERS, {"topic": topic, "group": group})
    return {member_id for (member_id,) in cursor.fetchall()}


def release(cursor: Cursor, backends: Collection[int]) -> None:
    """Forget the member id of the consumer with these backends: it leaves its group."""
    cursor.execute(FORGET_MEMBER, (list(backends),))
