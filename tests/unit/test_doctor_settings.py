"""The doctor's checks of the settings: sources, misspelled names, settings without effect."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from clickstream.__main__ import main
from clickstream.doctor.checks import CheckStatus, Finding, run_checks
from clickstream.doctor.settings_checks import SETTING_NAMES, SETTING_OF, checks
from clickstream.settings import from_sources
from clickstream.sources import find

ROOT = Path(__file__).parents[2]
FILE = """\
POSTGRES_HOST=localhost
POSTGRES_PASSWORD=hidden
KAFKA_TOPIC=mine
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def findings(environment: Mapping[str, str]) -> dict[str, Finding]:
    """Return the findings for this environment and the `.env` of the working directory."""
    sources = find(None, environment)
    found = run_checks(checks(from_sources(sources), sources))
    return {finding.name: finding for finding in found}


def problem(environment: Mapping[str, str], name: str) -> str:
    found = findings(environment)
    assert [each.name for each in found.values() if each.status is CheckStatus.PROBLEM] == [name]
    assert "; " in found[name].text
    return found[name].text


# == Sources ====================================================================================


def test_the_source_of_every_setting_is_named_without_its_value(folder: Path) -> None:
    (folder / ".env").write_text(FILE)
    found = findings({"OPENSEARCH_URI": "https://u:hidden@search", "HOME": "/root"})
    assert {each.status for each in found.values()} == {CheckStatus.OK}
    assert found["environment"].text == "OPENSEARCH_URI"
    assert found["file"].text == f"{folder / '.env'}: KAFKA_TOPIC, POSTGRES_HOST, POSTGRES_PASSWORD"
    assert "every other setting" in found["default"].text
    assert "hidden" not in str(found)


def test_settings_of_the_file_that_another_source_replaces_are_named(folder: Path) -> None:
    (folder / ".env").write_text(FILE)
    found = findings({"DATABASE_URL": "postgres://u:p@db/d"})
    assert found["file"].text == f"{folder / '.env'}: KAFKA_TOPIC"
    assert found["not used"].text.startswith("POSTGRES_HOST, POSTGRES_PASSWORD in ")


def test_without_a_file_the_searched_folders_are_named(folder: Path) -> None:
    assert findings({})["file"].text.startswith(f"no .env in {folder} or ")


def test_a_file_that_cannot_be_parsed_is_the_only_finding(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env").write_text("POSTGRES_PASSWORD hidden\n")
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert f"PROBLEM  settings     line 1 of {folder / '.env'} is not NAME=value" in shown
    assert "hidden" not in shown
    assert len(shown.splitlines()) == 1


# == Names ======================================================================================


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("POSTGRES_PASSWORT", "POSTGRES_PASSWORD"),
        ("POSTGRES_USERNAME", "POSTGRES_USER"),
        ("KAKFA_TOPIC", "KAFKA_TOPIC"),
        ("KAFKA_SSL_CA", "KAFKA_SSL_CAFILE"),
        ("KAFKA_SSL_KEY_LOCATION", "KAFKA_SSL_KEYFILE"),
        ("AIVEN_PG_URI", "DATABASE_URL"),
        ("SESSION_TIMEOUT_SECOND", "SESSION_TIMEOUT_SECONDS"),
    ],
)
def test_a_name_that_resembles_a_setting_is_a_problem(name: str, meant: str, folder: Path) -> None:
    (folder / ".env").write_text(f"{name}=hidden\n")
    text = problem({}, "names")
    assert text == f"{name} in {folder / '.env'} is not a setting; its name here is {meant}"
    assert problem({name: "hidden"}, "names").startswith(f"{name} in the environment")


@pytest.mark.parametrize(
    "environment",
    [
        {"POSTGRES_PASSWORT": "x", "POSTGRES_PASSWORD": "y"},
        {"AIVEN_PG_HOST": "x", "DATABASE_URL": "postgres://u:p@db/d"},
        {"KAFKA_HOME": "/opt", "KAFKA_OPTS": "-x", "LOGNAME": "me", "TEST_POSTGRES_PASSWORD": "x"},
        {"POSTGRES_PORT_5432_TCP": "tcp://x", "POSTGRES_SERVICE_HOST": "10.0.0.1"},
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_name_is_no_problem_if_the_setting_is_set_or_the_name_is_of_another_program(
    environment: dict[str, str],
) -> None:
    assert findings(environment)["names"].status is CheckStatus.OK


def test_the_page_on_migrating_lists_the_names_that_the_doctor_knows() -> None:
    page = (ROOT / "docs" / "migrating.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    listed = {
        old: re.findall(r"`(\w+)", new)[0]
        for names, new in rows
        for old in re.findall(r"`([A-Z][A-Z0-9_]+)`", names)
    }
    assert listed == SETTING_OF
    assert set(listed.values()) <= SETTING_NAMES


# == Settings without effect ====================================================================


USER = {"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "hidden"}
PEM = {"KAFKA_CA_CERT": "-----BEGIN CERTIFICATE-----"}


@pytest.mark.parametrize(
    ("protocol", "credentials"),
    [
        ("PLAINTEXT", USER),
        ("SSL", USER),
        ("PLAINTEXT", {"KAFKA_SSL_CAFILE": "ca.pem"}),
        ("PLAINTEXT", PEM),
    ],
)
@pytest.mark.usefixtures("folder")
def test_credentials_that_the_security_protocol_does_not_use_are_a_problem(
    protocol: str, credentials: dict[str, str]
) -> None:
    text = problem({"KAFKA_SECURITY_PROTOCOL": protocol, **credentials}, "no effect")
    assert f"KAFKA_SECURITY_PROTOCOL={protocol} does not use {', '.join(credentials)}; " in text
    assert "hidden" not in text


@pytest.mark.usefixtures("folder")
def test_credentials_that_the_security_protocol_uses_are_no_problem() -> None:
    environment = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **USER, **PEM}
    assert findings(environment)["no effect"].status is CheckStatus.OK
