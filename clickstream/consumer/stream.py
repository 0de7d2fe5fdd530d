"""A member of the consumer group, which reads the topic in batches.

The position at which a partition is read comes from PostgreSQL, never from Kafka. After each
assignment the loop acquires the partitions and calls `seek`; records delivered before that are
dropped.
"""

from collections.abc import Callable, Mapping
from time import monotonic

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import NoOffsetForPartitionError

from clickstream.clients import kafka_private
from clickstream.clients.addresses import kafka_address
from clickstream.clients.kafka import connection_options
from clickstream.clients.record_batch import Record
from clickstream.consumer.batch import Batch
from clickstream.consumer.broker_watch import BrokerWatch
from clickstream.consumer.gathering import POLL_MS, GatheredRecords, Gatherer
from clickstream.consumer.group_watch import GroupWatch
from clickstream.consumer.offset_commits import OffsetCommits
from clickstream.consumer.topic import REQUEST_TIMEOUT_MS, Topic
from clickstream.model.events import MAX_VALUE_BYTES
from clickstream.settings import Settings

# Limits of one fetch, of all partitions and of each; a larger record batch is fetched alone. The
# more records of a partition follow each other, the more events of a batch belong to one session.
FETCH_BYTES = 8 << 20
PARTITION_FETCH_BYTES = 4 << 20
METADATA_AGE_MS = 5_000
# A broker that does not answer must not delay a stop for long.
CLOSE_TIMEOUT_MS = 4_000
# The smallest that Kafka allows by default. The local broker lets a join wait for half of it.
SESSION_TIMEOUT_MS = 6_000
# A rebalance waits until each member has heard of it, by a heartbeat.
HEARTBEAT_INTERVAL_MS = 500
# The local broker may take this long to let a consumer join; Kafka takes about a second.
JOIN_SECONDS = 25


class RebalanceFlags(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    """Flags that the rebalance callbacks set; the loop does everything else.

    settled: the group has agreed on an assignment.
    changed: the assignment may differ from that of the last `seek`.
    """

    def __init__(self) -> None:
        self.settled = False
        self.changed = True

    def on_partitions_revoked(self, revoked: object) -> None:  # noqa: ARG002
        self.settled, self.changed = False, True

    def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002
        self.settled, self.changed = True, True


class Stream:
    """A subscription to the topic, in a consumer group.

    on_poll: called whenever Kafka is polled.
    Methods raise KafkaError while the brokers cannot be reached.
    """

    def __init__(self, settings: Settings, on_poll: Callable[[], object]) -> None:
        self._on_poll = on_poll
        self._gatherer = Gatherer(settings.consumer_batch_events)
        self._flags = RebalanceFlags()
        self._consumer = _connect(settings)
        kafka_private.never_create_topics(self._consumer)
        kafka_private.receive_large_pieces(self._consumer)
        kafka_private.keep_nothing_after_timeouts(self._consumer)
        kafka_private.read_every_batch(self._consumer, MAX_VALUE_BYTES)
        self._consumer.subscribe([settings.kafka_topic], listener=self._flags)
        self._group_watch = GroupWatch(settings.kafka_group_id, settings.kafka_topic)
        self._broker_watch = BrokerWatch(kafka_address(settings))
        self.topic = Topic(settings.kafka_topic, self._consumer)
        self.offset_commits = OffsetCommits(settings.kafka_topic, self._consumer)

    @property
    def settled(self) -> bool:
        """True if the group has agreed on an assignment."""
        return self._flags.settled

    @property
    def changed(self) -> bool:
        """True if the assignment may have changed since `seek`: records are then dropped."""
        return self._flags.changed

    @property
    def has_new_assignment(self) -> bool:
        """True if there is an assignment that was not acquired yet."""
        return self._flags.settled and self._flags.changed

    @property
    def member_id(self) -> str:
        """The consumer's id in its group, which is another one after each loss of membership."""
        return str(self._consumer.group_metadata().member_id)

    @property
    def topic_is_missing(self) -> bool:
        """True if the group has agreed on an assignment and the topic does not exist."""
        return self._flags.settled and not self.topic.partitions()

    @property
    def is_silent(self) -> bool:
        """True if Kafka does not answer: its last answers about the topic are out of date."""
        return self._broker_watch.is_silent

    def mark_changed(self) -> None:
        """Make the loop acquire its partitions again, after a failure."""
        self._flags.changed = True

    def seek(self, starts: Mapping[int, int]) -> None:
        """Continue at these offsets, given by partition; `read` no longer drops records."""
        partitions = {TopicPartition(self.topic.name, n): offset for n, offset in starts.items()}
        for partition, offset in partitions.items():
            self._consumer.seek(partition, offset)
        kafka_private.forget_high_watermarks(self._consumer, partitions)
        # In this order they belong to the storing threads in turns (shares.py), so that a large
        # batch has records for all.
        kafka_private.fetch_in_order(self._consumer, sorted(partitions))
        self._flags.changed = False

    def read(self, is_free_within: Callable[[float], bool]) -> Batch | None:
        """Return the next batch: the records that come until they can be stored.

        Return None if the assignment changed: the records may now belong to another consumer.
        is_free_within: see `Gatherer.gather`.
        """
        self._group_watch.observe(settled=self.settled, topic_is_missing=self.topic_is_missing)
        gathered = self._gatherer.gather(self._fill, is_free_within)
        if self.changed:
            return None
        return Batch(gathered.records, self._positions(), is_full=not gathered.room)

    def _fill(self, gathered: GatheredRecords, timeout_ms: int) -> bool:
        """Add the records that Kafka has; return False if the assignment changed."""
        polled = self._poll(gathered.room, timeout_ms)
        while polled:
            gathered.add(polled)
            if not gathered.room:
                break
            polled = kafka_private.fetched_records(self._consumer, gathered.room)
        return not self.changed

    def _poll(self, limit: int, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        self._on_poll()
        kafka_private.resume_join(self._consumer)
        try:
            polled: dict[TopicPartition, list[Record]] = self._consumer.poll(
                timeout_ms=timeout_ms, max_records=limit
            )
        except NoOffsetForPartitionError:  # a new assignment, before `seek`
            self.mark_changed()
            return {}
        if self.settled:  # while joining, Kafka answers when all members have joined
            self._broker_watch.observe(kafka_private.last_answer_at(self._consumer))
        return polled

    def _positions(self) -> dict[int, int]:
        """Return the offsets of the next records, which may come after control records."""
        return {
            partition.partition: self._consumer.position(partition)
            for partition in self._consumer.assignment()
        }

    def heartbeat(self) -> None:
        """Poll once without reading, to stay a member of the group."""
        self._consumer.pause(*self._consumer.assignment())
        self._poll(1, POLL_MS)
        self._consumer.resume(*self._consumer.paused())

    def wait(self, seconds: float) -> None:
        """Wait as a member of the group, without reading; then acquire the partitions again."""
        deadline = monotonic() + seconds
        self._consumer.pause(*self._consumer.assignment())
        try:
            while (left := deadline - monotonic()) > 0:
                self._consumer.poll(timeout_ms=int(left * 1000) + 1)
                self._consumer.pause(*self._consumer.assignment())
        finally:
            self._consumer.resume(*self._consumer.paused())
            self.mark_changed()

    def close(self) -> None:
        """Leave the group. If the consumer is joining it, wait for that first.

        The local broker never removes a member that leaves during its join.
        """
        deadline = monotonic() + JOIN_SECONDS
        try:
            while not self.settled and self._can_join() and monotonic() <= deadline:
                self._poll(1, POLL_MS)
        finally:
            self._consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    def _can_join(self) -> bool:
        return kafka_private.knows_coordinator(self._consumer)


def _connect(settings: Settings) -> KafkaConsumer:
    return KafkaConsumer(
        group_id=settings.kafka_group_id,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        # The first one moves as few partitions as it can. Kafka uses the second one while the group
        # has a member that does not support the first.
        partition_assignment_strategy=(StickyPartitionAssignor, RangePartitionAssignor),
        max_poll_records=settings.consumer_batch_events,
        max_poll_interval_ms=30_000,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        metadata_max_age_ms=METADATA_AGE_MS,
        bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=POLL_MS,
        # An incremental fetch omits partitions without new records, and so their high watermarks.
        enable_incremental_fetch_sessions=False,
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        **connection_options(settings),
    )
