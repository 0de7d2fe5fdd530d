"""Creating what a pipeline needs before its first event: tables, views, topic, index templates."""

from collections.abc import Iterator
from contextlib import closing

from kafka import KafkaAdminClient
from kafka.errors import AuthorizationError, KafkaError, NoError, TopicAlreadyExistsError
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    OpenSearchException,
    RequestError,
)

from clickstream.clients import opensearch
from clickstream.clients.addresses import kafka_address, opensearch_address
from clickstream.clients.kafka import check_reachable, connection_options
from clickstream.clients.kafka_handshake import find_refusal
from clickstream.errors import UserError, first_line
from clickstream.indexer import indexes, templates
from clickstream.indexer.index_names import IndexNames
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
    sentence = apply_search(settings)
    if sentence:
        yield sentence


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
            f"cannot create topic {topic} on {kafka_address(settings)}: {first_line(error)}; "
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


def apply_search(settings: Settings) -> str | None:
    """Create or replace the index templates, and add new fields to indexes; nothing without search.

    Returns a sentence, or None. Raises UserError if OpenSearch does not accept the templates.
    """
    if not settings.opensearch_host:
        return None
    server = opensearch_address(settings)
    names = IndexNames(settings.opensearch_index_prefix)
    try:
        with closing(opensearch.connect(settings)) as client:
            templates.put(client, names)
            indexes.add_fields(client, names)
    except (AuthenticationException, AuthorizationException):
        raise UserError(
            f"{server} does not let OPENSEARCH_USER put index templates; check "
            "OPENSEARCH_PASSWORD, or set all OPENSEARCH_* with an administrator's user and "
            "password in the environment of: python create_schema.py"
        ) from None
    except RequestError as error:
        raise UserError(
            f"{server} refuses an index template ({first_line(error)}); "
            "remove or change the template or index there that conflicts with it"
        ) from None
    except OpenSearchException as error:
        raise UserError(
            f"cannot put the index templates into {server}: {type(error).__name__}; "
            "check OPENSEARCH_*, or run: python -m clickstream doctor"
        ) from None
    return f"Index templates {names.events} and {names.sessions} are up to date."
