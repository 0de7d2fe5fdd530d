"""Forgetting the positions of partitions that Kafka no longer has."""

from contextlib import closing

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, NoError

from clickstream.admin.setup import BOOTSTRAP_TIMEOUT_MS
from clickstream.clients.addresses import kafka_address
from clickstream.clients.kafka import check_reachable, connection_options
from clickstream.clients.postgres import Connection
from clickstream.errors import UsageError, UserError, first_line
from clickstream.settings import Settings
from clickstream.storage import positions, write_lock


def forget(connection: Connection, settings: Settings, topic: str, partition: int | None) -> int:
    """Delete the positions of a topic and return their number. Their counters are kept.

    partition: only this one; None for all. Raises UsageError if Kafka still has one of the
    partitions, and UserError if none is stored or Kafka cannot be reached.
    """
    existing = _existing_partitions(settings, topic)
    with connection, connection.cursor() as cursor:
        write_lock.exclude_consumers(cursor)
        stored = set(positions.stored_partitions(cursor, topic))
        chosen = stored if partition is None else stored & {partition}
        if not chosen:
            raise UserError(
                "no such position is stored; list them with: python -m clickstream positions show"
            )
        if chosen & existing:
            raise UsageError(
                f"Kafka has partitions {sorted(chosen & existing)} of topic {topic}; only those "
                "that it no longer has can be forgotten, one by one with --partition"
            )
        positions.forget(cursor, topic, chosen)
    return len(chosen)


def _existing_partitions(settings: Settings, topic: str) -> set[int]:
    options = connection_options(settings)
    try:
        check_reachable(settings)
        admin = KafkaAdminClient(bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS, **options)
        with closing(admin):
            (found,) = admin.describe_topics([topic])
    except (KafkaError, OSError) as error:
        raise UserError(
            f"cannot reach {kafka_address(settings)} ({first_line(error)}), which knows if the "
            "partitions still exist; find the cause with: python -m clickstream doctor"
        ) from None
    if found["error_code"] != NoError.errno:
        return set()
    return {each["partition_index"] for each in found["partitions"]}
