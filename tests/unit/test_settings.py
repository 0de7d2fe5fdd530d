"""The settings: defaults, boundaries, contradictions, and their list in `.env.example`."""

import os
import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from clickstream.errors import UsageError
from clickstream.settings import Settings, load, setting_fields

EXAMPLE = Path(__file__).parents[2] / ".env.example"
FOR_TERRAFORM = {"AIVEN_TOKEN": ""}
PASSWORDS = {"KAFKA_SASL_PASSWORD", "POSTGRES_PASSWORD", "OPENSEARCH_PASSWORD"}
URLS = {"DATABASE_URL", "OPENSEARCH_URI"}
PEM_TEXTS = {"KAFKA_CA_CERT", "KAFKA_ACCESS_CERT", "KAFKA_ACCESS_KEY"}


def names_of_settings() -> list[str]:
    return [item.name.upper() for item in setting_fields()]


def refusal(mapping: dict[str, str]) -> str:
    with pytest.raises(UsageError) as refused:
        Settings.from_mapping(mapping)
    return str(refused.value)


# == .env.example ===============================================================================


def example() -> list[tuple[str, str]]:
    """Return the names and values in the file, in which all are commented out."""
    return re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)


def test_the_example_lists_every_setting_with_its_default_and_nothing_else() -> None:
    defaults = {item.name.upper(): item.metadata["default"] for item in setting_fields()}
    assert dict(example()) == defaults | FOR_TERRAFORM


def test_the_example_lists_each_name_once_and_sets_nothing() -> None:
    listed = [name for name, _ in example()]
    assert sorted(listed) == sorted(set(listed))
    assert all(line.startswith("#") for line in EXAMPLE.read_text().splitlines() if line)


def test_the_uncommented_example_gives_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"^#([A-Z][A-Z0-9_]*=)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    file = tmp_path / "settings"
    file.write_text(text)
    assert load(file, environment={}) == Settings()


# == Problems ===================================================================================


def test_every_problem_is_in_one_message() -> None:
    problems = {"POSTGRES_PORT": "x", "KAFKA_ACKS": "2", "ACTION_DELAY_MIN": "9999"}
    message = refusal(problems)
    assert all(name in message for name in problems)
    assert message.count(";") == 2


@pytest.mark.parametrize("name", sorted(PASSWORDS))
def test_a_password_is_neither_in_the_repr_nor_in_an_error(name: str) -> None:
    settings = Settings.from_mapping({name: "hidden-value"})
    assert "hidden-value" not in repr(settings)
    assert "hidden-value" not in refusal({name: "hidden-value", "POSTGRES_PORT": "x"})


@pytest.mark.parametrize("name", sorted(PASSWORDS | URLS))
def test_a_secret_whose_bytes_are_not_utf8_is_refused_without_repeating_it(name: str) -> None:
    hidden = os.fsdecode(b"hidden\xff")  # as Python reads it from the environment
    assert refusal({name: hidden}).startswith(f"{name} must be UTF-8 text")
    assert "hidden" not in refusal({name: hidden})


@pytest.mark.parametrize(
    "mapping",
    [
        {"DATABASE_URL": "postgresql://u:hidden%ff@h/d"},
        {"OPENSEARCH_URI": "https://u:hidden%ff@h:9200"},
    ],
)
def test_a_url_whose_password_is_not_utf8_is_refused_without_repeating_it(
    mapping: dict[str, str],
) -> None:
    assert "must be" in refusal(mapping)
    assert "hidden" not in refusal(mapping)


def test_passwords_urls_and_pem_texts_are_marked_as_secrets() -> None:
    marked = {item.name.upper() for item in setting_fields() if item.metadata["secret"]}
    assert marked == PASSWORDS | URLS | PEM_TEXTS
    named = re.compile("PASSWORD|TOKEN|_UR[IL]$|_CERT$|_KEY$")
    assert {name for name in names_of_settings() if named.search(name)} - marked == {
        "OPENSEARCH_DASHBOARDS_URL"
    }


NO_PREFIXES = ["", "-shop", "_shop", "Shop", "shop.eu", "shop*", "shop,x", "sh\u00f6p", "shop\n"]
NO_TOPICS = [".", "..", "shop events", "shop/events", "sh\u00f6p", "shop\n"]
# Forms of a pasted URL; none of them may be repeated in the error.
NO_HOSTS = ["https://db", "u:hidden@db", "u@db", "db/shop", "db:5432", "[::1]:5432", "::1:x"]


# A browser sends none of these forms, so each of them would refuse every page.
NO_ORIGINS = ["shop.example", "https://shop.example/", "https://Shop.example", "https://", "a,b"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("KAFKA_TOPIC_PARTITIONS", ["1", "10000"], ["0", "10001", "1.5", "-1"]),
        ("KAFKA_TOPIC", ["a", "A.b_c-1", "...", "x" * 249], [*NO_TOPICS, "x" * 250]),
        ("POSTGRES_PORT", ["1", "65535", " 80 "], ["0", "65536", "http", "", "--5", "\u00b2"]),
        ("SESSION_TIMEOUT_SECONDS", ["1", "10000000"], ["0", "-1800", "30m", "9" * 5000]),
        ("MAX_FUTURE_SECONDS", ["0"], ["-1"]),
        ("NUM_EVENTS", ["-1", "0"], ["-2"]),
        ("LOGOUT_FAILURE_PROB", ["0", "1", "0.5"], ["-0.1", "1.1", "nan", "half", ""]),
        ("KAFKA_ACKS", ["all", "1", "0"], ["-1", "ALL", ""]),
        ("KAFKA_SECURITY_PROTOCOL", ["PLAINTEXT", "SSL"], ["TLS", "ssl", ""]),
        ("POSTGRES_SSLMODE", ["verify-full"], ["on", ""]),
        ("OPENSEARCH_USE_SSL", ["true", "FALSE", "1", "no"], ["", "maybe"]),
        ("LOG_FORMAT", ["text", "json"], ["xml"]),
        (
            "REPORT_TIMEZONE",
            ["UTC", "Europe/Oslo"],
            ["", "Europe", "Oslo", "../UTC", "a\0", "x" * 999],
        ),
        ("KAFKA_BOOTSTRAP_SERVERS", ["a:1,b:2", "[::1]:9092"], ["kafka://a:1", "u@a:1", "a:b", ""]),
        ("POSTGRES_HOST", ["db", "10.0.0.1", "/cloudsql/a:b:c"], [*NO_HOSTS, "/u:p@db"]),
        ("OPENSEARCH_HOST", ["search.example", ""], NO_HOSTS),
        ("OPENSEARCH_INDEX_PREFIX", ["a", "2-shops_eu", "x" * 100], [*NO_PREFIXES, "x" * 101]),
        ("POSTGRES_DATABASE", ["shop"], ["postgres://u:p@db/shop"]),
        ("COLLECTOR_ORIGINS", ["*", "https://a.example, http://localhost:8080"], ["", *NO_ORIGINS]),
        ("KAFKA_CA_CERT", ["-----BEGIN CERTIFICATE-----", ""], ["ca.pem", "-----BEGIN \u00e9"]),
    ],
)
def test_each_setting_accepts_exactly_its_range(name: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        Settings.from_mapping({name: value})
    for value in bad:
        assert re.match(f"{name} must be ", refusal({name: value}))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"SESSION_DURATION_MIN": "10", "SESSION_DURATION_MAX": "9"}, "not be above"),
        ({"ACTION_DELAY_MIN": "10", "ACTION_DELAY_MAX": "9"}, "not be above"),
        ({"KAFKA_SSL_CERTFILE": "service.cert"}, "KAFKA_SSL_KEYFILE"),
        ({"KAFKA_SSL_KEYFILE": "service.key"}, "KAFKA_SSL_CERTFILE"),
        ({"KAFKA_ACCESS_CERT": "-----BEGIN CERTIFICATE-----"}, "KAFKA_ACCESS_KEY"),
        ({"KAFKA_ACCESS_KEY": "-----BEGIN PRIVATE KEY-----"}, "KAFKA_ACCESS_CERT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs KAFKA_SASL_USERNAME"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    mapping: dict[str, str], message: str
) -> None:
    assert message in refusal(mapping)


def test_event_types_are_a_sorted_set() -> None:
    settings = Settings.from_mapping({"SESSION_END_EVENTS": " logout ,, purchase,logout"})
    assert settings.session_end_events == ("logout", "purchase")


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().kafka_topic = "another"  # type: ignore[misc]


# == Hosts and certificates =====================================================================

SERVICE_URIS = [
    ("POSTGRES_HOST", "postgres://avnadmin:hidden@db.example:12691/defaultdb?sslmode=require"),
    ("OPENSEARCH_HOST", "https://avnadmin:hidden@search.example:12692"),
    ("KAFKA_BOOTSTRAP_SERVERS", "https://avnadmin:hidden@kafka.example:12693"),
    ("POSTGRES_DATABASE", "postgres://avnadmin:hidden@db.example:12691/defaultdb"),
    ("POSTGRES_PORT", "postgres://avnadmin:hidden@db.example:12691/defaultdb"),
]


@pytest.mark.parametrize(("name", "uri"), SERVICE_URIS)
def test_a_service_uri_in_another_setting_is_refused_and_not_repeated(name: str, uri: str) -> None:
    text = refusal({name: uri})
    assert text.startswith(f"{name} must be ")
    assert not [part for part in ("hidden", "avnadmin", ".example") if part in text]


@pytest.mark.parametrize("host", ["::1", "[::1]", " ::1 "])
def test_an_ipv6_host_may_have_brackets(host: str) -> None:
    assert Settings.from_mapping({"POSTGRES_HOST": host}).postgres_host == "::1"
    assert Settings.from_mapping({"OPENSEARCH_HOST": host}).opensearch_host == "::1"


def test_line_breaks_of_a_pem_text_may_be_written_as_backslash_n() -> None:
    text = "-----BEGIN CERTIFICATE-----\\nabc\\n-----END CERTIFICATE-----\\n"
    settings = Settings.from_mapping({"KAFKA_CA_CERT": text})
    assert settings.kafka_ca_cert.splitlines()[1] == "abc"


def test_pem_text_turns_tls_on_unless_the_protocol_is_set() -> None:
    pem = {"KAFKA_CA_CERT": "-----BEGIN CERTIFICATE-----"}
    assert Settings.from_mapping(pem).kafka_security_protocol == "SSL"
    plain = {**pem, "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}
    assert Settings.from_mapping(plain).kafka_security_protocol == "PLAINTEXT"
    assert Settings.from_mapping({"KAFKA_CA_CERT": ""}).kafka_security_protocol == "PLAINTEXT"
