"""The parts of error sentences that several commands share."""

import psycopg2
import pytest

from clickstream.clients.addresses import kafka_address, opensearch_address, postgres_address
from clickstream.clients.postgres import connection_failure
from clickstream.errors import first_line
from clickstream.settings import Settings

REFUSED = """\
connection to server at "localhost" (::1), port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?
connection to server at "localhost" (127.0.0.1), port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?
"""
NO_PASSWORD = """\
connection to server at "10.0.0.1", port 5432 failed: FATAL:  password authentication failed for \
user "me"
connection to server at "10.0.0.1", port 5432 failed: FATAL:  no pg_hba.conf entry for host
"""
NO_SOCKET = """\
connection to server on socket "/tmp/.s.PGSQL.5432" failed: No such file or directory
"""
NO_NAME = 'could not translate host name "x" to address: Name or service not known\n'


def test_an_address_names_the_server_and_where_it_is() -> None:
    settings = Settings.from_mapping(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "k1:9092,k2:9092",
            "POSTGRES_HOST": "db", "POSTGRES_PORT": "5433", "POSTGRES_DATABASE": "shop",
            "OPENSEARCH_HOST": "search", "OPENSEARCH_PORT": "9201",
        }
    )  # fmt: skip
    assert kafka_address(settings) == "Kafka at k1:9092,k2:9092"
    assert postgres_address(settings) == "PostgreSQL at db:5433, database shop"
    assert opensearch_address(settings) == "OpenSearch at search:9201"


def test_the_first_line_of_an_error_without_text_is_its_type() -> None:
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (REFUSED, "Connection refused"),
        (NO_PASSWORD, 'password authentication failed for user "me"'),
        (NO_SOCKET, "No such file or directory"),
        (NO_NAME, NO_NAME.strip()),
    ],
)
def test_a_failed_connection_gives_its_cause_without_address_and_hint(
    message: str, reason: str
) -> None:
    assert connection_failure(psycopg2.OperationalError(message)) == reason
