"""Creating what a pipeline needs before its first event: tables, views, topic, index templates."""

from collections.abc import Iterator
from contextlib import closing

from kafka import KafkaAdminClient
from kafka.errors import AuthorizationError, KafkaError, NoError, TopicAlreadyExistsError

from clickstream.clients.addresses import kafka_address
from clickstream.clients.kafka import check_reachable, connection_options
from clickstream.clients.kafka_handshake import find_refusal
from clickstream.errors import UserError, first_line
from clickstream.plurals import plural
from clickstream.settings import Settings
from clickstream.storage.schema import apply_tables

BOOTSTRAP_TIMEOUT_MS = 10_000


def apply(settings: Settings) -> Iterator[str]:
    """Create the missing tables, views, topic and index templates; yield a sentence after each.

    Raises UserError if a server cannot be reached or a right is missing.
    """
    yield apply_tables(settings)
    yield apply_topic(settings)
    if settings.opensearch_host:
        from clickstream.admin.search_setup import apply_search  # slow to import

        yield apply_search(settings)


def apply_topic(settings: Settings) -> str:
    """Create the topic if it does not exist, with the broker's default replication.

    Returns a sentence. Raises UserError if Kafka cannot be reached or a right is missing.
    """
    topic = settings.kafka_topic
    try:
        return _create_topic(settings, topic, settings.kafka_topic_partitions)
    except AuthorizationError:
        raise UserError(
            f"topic {topic} is missing or hidden from this Kafka user, who may not create it; "
            "on Aiven set kafka_topic for Terraform and apply it, elsewhere let an administrator "
            "create it"
        ) from None
    except (KafkaError, OSError) as error:
        raise find_refusal(settings) or UserError(
            f"cannot create topic {topic} on {kafka_address(settings)} ({first_line(error)}); "
            "check KAFKA_*, or start local servers with: python -m clickstream stack up"
        ) from None


def _create_topic(settings: Settings, topic: str, partitions: int) -> str:
    options = connection_options(settings)
    check_reachable(settings)
    with closing(KafkaAdminClient(bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS, **options)) as admin:
        # A user without the right to create is refused even if the topic exists, so look first.
        (found,) = admin.describe_topics([topic])
        if found["error_code"] == NoError.errno:
            number = len(found["partitions"])
            return f"Topic {topic} exists with {number} {plural(number, 'partition')}."
        try:
            admin.create_topics({topic: {"num_partitions": partitions}})
        except TopicAlreadyExistsError:  # another process created it at this moment
            return f"Topic {topic} exists."
    return f"Topic {topic} was created with {partitions} {plural(partitions, 'partition')}."
