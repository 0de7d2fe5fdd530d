"""Create tables, views, topic and index templates: everything needed before the first event."""

import logging
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
from clickstream.clients.kafka import connection_options
from clickstream.errors import UserError, first_line
from clickstream.indexer import templates
from clickstream.settings import Settings
from clickstream.storage.schema import apply_tables

logger = logging.getLogger(__name__)


def apply(settings: Settings) -> list[str]:
    """Create what is missing of tables, views, topic and index templates; a sentence for each.

    Raises UserError where a server is out of reach or a right is missing.
    """
    parts = (apply_tables(settings), apply_topic(settings), apply_search(settings))
    return [sentence for sentence in parts if sentence]


def apply_topic(settings: Settings) -> str:
    """Create the topic where it is missing, with the broker's default replication."""
    topic = settings.kafka_topic
    partitions = settings.kafka_topic_partitions
    try:
        admin = KafkaAdminClient(bootstrap_timeout_ms=10_000, **connection_options(settings))
        try:
            # First a look: a user without the right to create is refused for a topic that is there.
            (found,) = admin.describe_topics([topic])
            if found["error_code"] == NoError.errno:
                return f"Topic {topic} is there with {len(found['partitions'])} partitions."
            admin.create_topics({topic: {"num_partitions": partitions}})
        except TopicAlreadyExistsError:  # created by somebody else at this moment
            return f"Topic {topic} is there."
        finally:
            admin.close()
    except AuthorizationError:
        raise UserError(
            f"topic {topic} is missing or hidden from this Kafka user, who may not create it; "
            "on Aiven set kafka_topic for Terraform and apply it, elsewhere let an administrator "
            "create it"
        ) from None
    except (KafkaError, OSError) as error:
        raise UserError(
            f"cannot create topic {topic} on {kafka_address(settings)}: {first_line(error)}; "
            "check KAFKA_*, or start local servers with: python -m clickstream stack up"
        ) from None
    return f"Topic {topic} was created with {partitions} partitions."


def apply_search(settings: Settings) -> str | None:
    """Put the index templates, old or new; None where search is off."""
    if not settings.opensearch_host:
        return None
    server = opensearch_address(settings)
    try:
        with closing(opensearch.connect(settings)) as client:
            templates.put(client)
    except (AuthenticationException, AuthorizationException):
        raise UserError(
            f"{server} does not let OPENSEARCH_USER put index templates; check "
            "OPENSEARCH_PASSWORD, or set all OPENSEARCH_* with an administrator's user and "
            "password in the environment of: python create_schema.py"
        ) from None
    except RequestError as error:
        raise UserError(
            f"{server} refuses an index template ({first_line(error)}); "
            "remove or change there what stands in its way"
        ) from None
    except OpenSearchException as error:
        raise UserError(
            f"cannot put the index templates into {server}: {type(error).__name__}; "
            "check OPENSEARCH_*, or ask: python -m clickstream doctor"
        ) from None
    return f"Index templates {' and '.join(templates.TEMPLATES)} are there."
