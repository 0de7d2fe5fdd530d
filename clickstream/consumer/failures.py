"""What fails between the consumer and its servers: what waiting cures, and what it does not."""

import psycopg2
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)
from psycopg2 import errors

from clickstream.errors import UserError, first_line
from clickstream.settings import Settings

# Waiting cures these, unless `incurable` says otherwise.
OUTAGES = (psycopg2.Error, KafkaError, OSError)

# A refused login has no SQLSTATE in the driver; these are the server's words for it.
REFUSED_LOGINS = ("authentication failed", "does not exist", "no pg_hba.conf entry")


def incurable(error: Exception, settings: Settings) -> UserError | None:
    """What to tell the user where no waiting helps; None for an outage."""
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
            f"PostgreSQL at {settings.postgres_host}:{settings.postgres_port} refuses the login "
            f"({first_line(error)}); check POSTGRES_* in .env"
        )
    if isinstance(error, UnsupportedCodecError):
        return UserError(
            f"topic {settings.kafka_topic} is compressed by a codec whose package is missing "
            f"({first_line(error)}); run: python -m pip install -r requirements.txt"
        )
    if isinstance(error, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
        return UserError(
            f"Kafka refuses topic {settings.kafka_topic} or group {settings.kafka_group_id} to "
            f"this user ({type(error).__name__}); give it the right to read both"
        )
    return None


def sentence(error: Exception, settings: Settings) -> str:
    """What is out of reach, in one sentence without its end."""
    if isinstance(error, psycopg2.InterfaceError) and isinstance(error.__context__, psycopg2.Error):
        error = error.__context__  # the connection was lost by this one
    if isinstance(error, KafkaError):
        return (
            f"Kafka at {settings.kafka_bootstrap_servers} does not serve topic "
            f"{settings.kafka_topic} ({first_line(error)})"
        )
    return (
        f"PostgreSQL at {settings.postgres_host}:{settings.postgres_port} does not serve database "
        f"{settings.postgres_database} ({first_line(error)})"
    )
