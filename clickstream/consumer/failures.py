"""Failures of the servers: outages, which may end, and permanent ones, which a user must repair."""

import psycopg2
from kafka.errors import (
    BrokerResponseError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from psycopg2 import errors

from clickstream.clients.addresses import kafka_address, postgres_address
from clickstream.clients.postgres import connection_failure
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings

# Errors that are retried, except for those that `permanent_failure` recognises.
OUTAGES = (psycopg2.Error, KafkaError, OSError)

# The driver gives no SQLSTATE for a refused login; these are the server's words for it.
REFUSED_LOGINS = ("authentication failed", "does not exist", "no pg_hba.conf entry")


def permanent_failure(error: Exception, settings: Settings) -> UserError | None:
    """Return the error for the user if waiting does not help; None for an outage."""
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return UserError(
            f"the database lacks what the consumer needs ({first_line(error)}); run: "
            "python create_schema.py"
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return UserError(
            f"role {settings.postgres_user} lacks a right ({first_line(error)}); let the owner of "
            "the tables GRANT it"
        )
    if isinstance(error, psycopg2.OperationalError) and any(
        words in str(error) for words in REFUSED_LOGINS
    ):
        return UserError(
            f"{postgres_address(settings)}, refuses the login ({connection_failure(error)}); check "
            "POSTGRES_* in .env"
        )
    if isinstance(error, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
        return UserError(
            f"Kafka refuses topic {settings.kafka_topic} or group {settings.kafka_group_id} to "
            f"this user ({type(error).__name__}); give it the right to read both"
        )
    return None


def describe_outage(error: Exception, settings: Settings) -> str:
    """Return which server fails and how, as a sentence without its full stop."""
    if isinstance(error, psycopg2.InterfaceError) and isinstance(error.__context__, psycopg2.Error):
        error = error.__context__  # this error made the driver lose the connection
    if isinstance(error, psycopg2.Error):
        address = postgres_address(settings)
        if error.pgcode:
            return f"{address}, reports an error ({first_line(error)})"
        return f"cannot reach {address} ({connection_failure(error)})"
    if isinstance(error, BrokerResponseError):
        topic = settings.kafka_topic
        return f"{kafka_address(settings)} reports an error for topic {topic} ({first_line(error)})"
    return f"cannot reach {kafka_address(settings)} ({first_line(error)})"
