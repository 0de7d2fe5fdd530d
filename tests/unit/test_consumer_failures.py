"""The sentences of the consumer when a server fails."""

import psycopg2
import pytest
from kafka.errors import (
    CorruptRecordError,
    GroupAuthorizationFailedError,
    KafkaTimeoutError,
)
from psycopg2 import errors

from clickstream.consumer.failures import describe_outage, permanent_failure
from clickstream.settings import Settings

SETTINGS = Settings.from_mapping(
    {
        "KAFKA_BOOTSTRAP_SERVERS": "k:9092", "KAFKA_TOPIC": "t", "KAFKA_GROUP_ID": "g",
        "POSTGRES_HOST": "db", "POSTGRES_DATABASE": "shop", "POSTGRES_USER": "me",
    }
)  # fmt: skip
LIBPQ = 'connection to server at "db" (10.0.0.1), port 5432 failed: '


def test_an_unreachable_server_is_named_with_its_address_and_the_cause() -> None:
    refused = psycopg2.OperationalError(f"{LIBPQ}Connection refused\n\tIs the server running?\n")
    assert describe_outage(refused, SETTINGS) == (
        "cannot reach PostgreSQL at db:5432, database shop (Connection refused)"
    )
    timeout = describe_outage(KafkaTimeoutError("Unable to bootstrap"), SETTINGS)
    assert timeout == "cannot reach Kafka at k:9092 (KafkaTimeoutError: Unable to bootstrap)"


def test_an_error_that_the_broker_reports_is_not_described_as_unreachable() -> None:
    found = describe_outage(CorruptRecordError("crc"), SETTINGS)
    assert found.startswith("Kafka at k:9092 reports an error for topic t (")


def test_a_lost_connection_is_described_by_the_error_that_lost_it() -> None:
    lost = psycopg2.InterfaceError("cursor already closed")
    lost.__context__ = psycopg2.OperationalError("server closed the connection unexpectedly\n")
    assert describe_outage(lost, SETTINGS).endswith("(server closed the connection unexpectedly)")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (psycopg2.OperationalError(f"{LIBPQ}SSL error: certificate verify failed"), "SSLROOTCERT"),
        (psycopg2.OperationalError('root certificate file "x" does not exist'), "SSLROOTCERT"),
        (errors.UndefinedTable('relation "x" does not exist\nLINE 1'), "run: python create_schema"),
        (errors.InsufficientPrivilege("permission denied"), "role me lacks a right"),
        (psycopg2.OperationalError(f"{LIBPQ}FATAL:  password authentication failed"), "the login"),
        (GroupAuthorizationFailedError("g"), "give it the right to read both"),
    ],
)
def test_a_permanent_failure_names_the_remedy(error: Exception, sentence: str) -> None:
    found = permanent_failure(error, SETTINGS)
    assert found is not None
    assert sentence in str(found)
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    "error", [psycopg2.OperationalError("timeout expired"), OSError(), KafkaTimeoutError()]
)
def test_an_outage_is_not_a_permanent_failure(error: Exception) -> None:
    assert permanent_failure(error, SETTINGS) is None
