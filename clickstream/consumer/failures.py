"""Failures of the servers: outages, which may end, and permanent ones, which a user must repair."""

import psycopg2
from kafka.errors import (
    BrokerResponseError,
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from psycopg2 import errors

from clickstream.clients.addresses import kafka_address, postgres_address
from clickstream.clients.kafka_handshake import find_refusal
from clickstream.clients.postgres import connection_failure
from clickstream.errors import UserError, first_line
from clickstream.settings import Settings

# Errors that are retried, except for those that `permanent_failure` recognises.
OUTAGES = (psycopg2.Error, KafkaError, OSError)

SASL_ERRORS = (SaslAuthenticationFailedError, UnsupportedSaslMechanismError)
# The driver gives no SQLSTATE for a refused login; these are the server's words for it.
REFUSED_LOGINS = ("authentication failed", "does not exist", "no pg_hba.conf entry")
# libpq's words if the server, or the file of CA certificates, does not satisfy the sslmode.
REFUSED_CERTIFICATES = (
    "certificate verify failed",
    "root certificate file",
    "does not match host name",
    "server does not support SSL",
)


def permanent_failure(error: Exception, settings: Settings) -> UserError | None:
    """Return the error for the user if waiting does not help; None for an outage.

    With TLS or SASL, Kafka is asked why it cannot be reached.
    """
    if isinstance(error, psycopg2.Error):
        return _permanent_failure_of_postgres(error, settings)
    if isinstance(error, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
        return UserError(
            f"Kafka refuses topic {settings.kafka_topic} or group {settings.kafka_group_id} to "
            f"this user ({type(error).__name__}); give it the right to read both"
        )
    if isinstance(error, BrokerResponseError) and not isinstance(error, SASL_ERRORS):
        return None
    return find_refusal(settings)


def _permanent_failure_of_postgres(error: psycopg2.Error, settings: Settings) -> UserError | None:
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
    if not isinstance(error, psycopg2.OperationalError):
        return None
    if any(words in str(error) for words in REFUSED_CERTIFICATES):
        return UserError(
            f"{postgres_address(settings)}, does not satisfy POSTGRES_SSLMODE="
            f"{settings.postgres_sslmode} ({connection_failure(error)}); check POSTGRES_HOST and "
            "POSTGRES_SSLROOTCERT, or find the cause with: python -m clickstream doctor"
        )
    if any(words in str(error) for words in REFUSED_LOGINS):
        return UserError(
            f"{postgres_address(settings)}, refuses the login ({connection_failure(error)}); check "
            "POSTGRES_* in .env"
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
