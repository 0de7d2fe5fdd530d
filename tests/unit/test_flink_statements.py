"""The statements of the Flink job with the connections filled in, and its tables."""

import re
from pathlib import Path

import pytest

from clickstream.errors import UserError
from clickstream.flink import connector_jars
from clickstream.flink.connector_options import kafka_options, postgres_options
from clickstream.flink.job_statements import job_statements
from clickstream.flink.run_job import SOURCES
from clickstream.model.sessions import SESSION_COLUMNS
from clickstream.settings import Settings
from tests.pki import Authority


def settings(**values: str) -> Settings:
    return Settings.from_mapping(values)


def test_every_address_and_topic_is_that_of_the_settings() -> None:
    given = settings(KAFKA_BOOTSTRAP_SERVERS="k:1,k:2", KAFKA_TOPIC="shop", POSTGRES_HOST="p")
    tables = job_statements(SOURCES, given, bounded=False)[:-1]
    kafka = [text for text in tables if "'connector' = 'kafka'" in text]
    jdbc = [text for text in tables if "'connector' = 'jdbc'" in text]
    assert (len(kafka), len(jdbc)) == (2, 4)
    for text in kafka:
        assert "'properties.bootstrap.servers' = 'k:1,k:2'" in text
        assert "'topic' = 'shop'" in text
        assert "scan.bounded.mode" not in text
    for text in jdbc:
        assert "'url' = 'jdbc:postgresql://p:5432/clickstream?" in text


def test_a_bounded_job_ends_at_the_newest_record_and_takes_no_partition_as_idle() -> None:
    statements = job_statements(SOURCES, settings(), bounded=True)
    assert sum("'scan.bounded.mode' = 'latest-offset'" in text for text in statements) == 2
    idle = re.findall(r"'scan.watermark.idle-timeout' = '(.+?)'", "".join(statements))
    assert idle == ["0 ms"]


def test_the_gap_of_the_windows_is_the_session_timeout() -> None:
    given = settings(SESSION_TIMEOUT_SECONDS="93784")
    assert (
        "INTERVAL '1 02:03:04' DAY(3) TO SECOND" in job_statements(SOURCES, given, bounded=True)[-1]
    )


def test_rules_by_event_type_are_refused() -> None:
    for name in ("SESSION_START_EVENTS", "SESSION_END_EVENTS"):
        with pytest.raises(UserError, match="leave both empty"):
            job_statements(SOURCES, settings(**{name: "login"}), bounded=False)


def test_a_quote_in_a_password_ends_no_literal() -> None:
    given = settings(POSTGRES_PASSWORD="it's", POSTGRES_DATABASE="a b")
    tables = job_statements(SOURCES, given, bounded=False)
    assert sum("'password' = 'it''s'" in text for text in tables) == 4
    assert "/a%20b?" in postgres_options(given)["url"]


def test_passwords_of_kafka_are_quoted_for_java() -> None:
    given = settings(
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_MECHANISM="PLAIN",
        KAFKA_SASL_USERNAME="shop",
        KAFKA_SASL_PASSWORD='a"b\\',
    )
    login = kafka_options(given)["properties.sasl.jaas.config"]
    assert login.endswith('PlainLoginModule required username="shop" password="a\\"b\\\\";')


def test_certificates_are_given_as_text_in_the_form_that_java_reads(tmp_path: Path) -> None:
    authority = Authority("the CA")
    pair = authority.issue("clickstream")
    (tmp_path / "ca.pem").write_text(authority.certificate)
    given = settings(
        KAFKA_SECURITY_PROTOCOL="SSL",
        KAFKA_SSL_CAFILE=str(tmp_path / "ca.pem"),
        KAFKA_ACCESS_CERT=pair.certificate,
        KAFKA_ACCESS_KEY=pair.key,
    )
    options = kafka_options(given)
    assert options["properties.ssl.truststore.certificates"] == authority.certificate
    assert options["properties.ssl.keystore.certificate.chain"] == pair.certificate.strip()
    assert options["properties.ssl.keystore.key"].startswith("-----BEGIN PRIVATE KEY-----")


def test_flink_sessions_has_the_columns_of_session_metrics_that_sql_can_compute() -> None:
    not_computed = {"session_id", "close_reason"}
    pattern = r"^    (\w+) +[A-Za-z]+.*,$"
    expected = set(SESSION_COLUMNS) - not_computed
    table = (SOURCES / "tables" / "flink_sessions.sql").read_text()
    assert set(re.findall(pattern, table.split("PRIMARY KEY")[0], re.M)) == expected


def test_the_tables_of_flink_and_of_postgresql_have_the_same_columns() -> None:
    in_postgres = (SOURCES / "postgresql.sql").read_text()
    for path in (SOURCES / "tables").glob("flink_*.sql"):
        body = path.read_text().split("PRIMARY KEY")[0].split("(", 1)[1]
        (table,) = re.findall(rf"EXISTS {path.stem} \((.+?)PRIMARY KEY", in_postgres, re.S)
        names = r"^    `?([a-z]\w*)`? +[A-Za-z]"
        generated = ["session_duration_minutes"]
        found = [name for name in re.findall(names, table, re.M) if name not in generated]
        assert found == re.findall(names, body, re.M), path.name


def test_a_connector_that_differs_from_its_checksum_is_refused(tmp_path: Path) -> None:
    for line in (SOURCES / "jars.sha256").read_text().splitlines():
        (tmp_path / line.split()[1]).write_bytes(b"something else")
    with pytest.raises(UserError, match="is not the file that flink/jars"):
        connector_jars.connector_jars(SOURCES, tmp_path)
