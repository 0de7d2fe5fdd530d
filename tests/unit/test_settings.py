"""The settings: defaults, precedence, boundaries, and what `.env.example` says of them."""

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from clickstream.errors import UsageError
from clickstream.settings import Settings, load

EXAMPLE = Path(__file__).parents[2] / ".env.example"
FOR_TERRAFORM = {"AIVEN_TOKEN": ""}
SECRETS = {"KAFKA_SASL_PASSWORD", "POSTGRES_PASSWORD", "OPENSEARCH_PASSWORD"}


def names_of_settings() -> list[str]:
    return [item.name.upper() for item in fields(Settings)]


def refusal(mapping: dict[str, str]) -> str:
    with pytest.raises(UsageError) as refused:
        Settings.from_mapping(mapping)
    return str(refused.value)


# == .env.example ===============================================================================


def example() -> list[tuple[str, str]]:
    """The names and values in the file; all are commented out."""
    return re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)


def test_the_example_lists_every_setting_with_its_default_and_nothing_else() -> None:
    defaults = {item.name.upper(): item.metadata["default"] for item in fields(Settings)}
    assert dict(example()) == defaults | FOR_TERRAFORM


def test_the_example_lists_each_name_once_and_sets_nothing() -> None:
    listed = [name for name, _ in example()]
    assert sorted(listed) == sorted(set(listed))
    assert all(line.startswith("#") for line in EXAMPLE.read_text().splitlines() if line)


def test_the_example_taken_as_it_is_gives_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"^#([A-Z][A-Z0-9_]*=)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    file = tmp_path / "settings"
    file.write_text(text)
    assert load(file, environment={}) == Settings()


# == Where a value comes from ===================================================================


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("KAFKA_TOPIC=of-the-file\nPOSTGRES_PORT=5433\n")
    settings = load(file, environment={"KAFKA_TOPIC": "of-the-environment"})
    assert (settings.kafka_topic, settings.postgres_port) == ("of-the-environment", 5433)


def test_a_variable_set_to_the_empty_string_counts_as_set(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("OPENSEARCH_HOST=search\nKAFKA_TOPIC=mine\n")
    assert load(file, environment={"OPENSEARCH_HOST": ""}).opensearch_host == ""
    with pytest.raises(UsageError, match="KAFKA_TOPIC must not be empty"):
        load(file, environment={"KAFKA_TOPIC": ""})


def test_the_file_of_the_working_directory_is_read_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environment={}) == Settings()
    Path(".env").write_text("KAFKA_TOPIC=mine\n")
    assert load(environment={}).kafka_topic == "mine"


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.*--env-file"):
        load(tmp_path / "nowhere", environment={})


def test_a_value_of_the_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("POSTGRES_PASSWORD=${HOME}$x\nNO_VALUE\nOF_ANOTHER_PROGRAM=1\n")
    assert load(file, environment={}).postgres_password == "${HOME}$x"


# == Problems ===================================================================================


def test_every_problem_is_in_one_message() -> None:
    problems = {"POSTGRES_PORT": "x", "KAFKA_ACKS": "2", "ACTION_DELAY_MIN": "9999"}
    told = refusal(problems)
    assert all(name in told for name in problems)
    assert told.count(";") == 2


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_shows_nowhere(name: str) -> None:
    settings = Settings.from_mapping({name: "hidden-value"})
    assert "hidden-value" not in repr(settings)
    assert "hidden-value" not in refusal({name: "hidden-value", "POSTGRES_PORT": "x"})


def test_whatever_looks_like_a_secret_is_one() -> None:
    marked = {item.name.upper() for item in fields(Settings) if item.metadata["secret"]}
    assert marked == SECRETS
    assert {name for name in names_of_settings() if re.search("PASSWORD|TOKEN", name)} == SECRETS


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("KAFKA_TOPIC_PARTITIONS", ["1", "10000"], ["0", "10001", "1.5", "-1"]),
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
    ],
)
def test_boundaries(name: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        Settings.from_mapping({name: value})
    for value in bad:
        assert re.match(f"{name} must be ", refusal({name: value}))


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"SESSION_DURATION_MIN": "10", "SESSION_DURATION_MAX": "9"}, "not be above"),
        ({"ACTION_DELAY_MIN": "10", "ACTION_DELAY_MAX": "9"}, "not be above"),
        ({"KAFKA_SSL_CERTFILE": "service.cert"}, "KAFKA_SSL_KEYFILE"),
        ({"KAFKA_SSL_KEYFILE": "service.key"}, "KAFKA_SSL_CERTFILE"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs KAFKA_SASL_USERNAME"),
    ],
)
def test_settings_that_contradict_each_other(mapping: dict[str, str], told: str) -> None:
    assert told in refusal(mapping)


def test_event_types_are_a_sorted_set() -> None:
    settings = Settings.from_mapping({"SESSION_END_EVENTS": " logout ,, purchase,logout"})
    assert settings.session_end_events == ("logout", "purchase")


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().kafka_topic = "another"  # type: ignore[misc]
