"""`python -m clickstream env`: the files that it writes and the outputs that it refuses."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from dotenv import dotenv_values

from clickstream.__main__ import main
from clickstream.aiven import env
from clickstream.aiven.outputs import Outputs, parse
from clickstream.settings import Settings, load, setting_fields
from tests.pki import Authority, key_text

ROOT = Path(__file__).parents[2]
WRITTEN = [".env", "certs/ca.pem", "certs/service.cert", "certs/service.key"]
SECRETS = ["pg-secret", "admin-secret", "search-secret"]
# Outputs that people use in a browser or in another client.
FOR_PEOPLE = {"schema_registry_url", "opensearch_admin_user", "opensearch_admin_password"}

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The certification authority of the project on Aiven."""
    return Authority("the project's CA")


@pytest.fixture
def values(authority: Authority) -> dict[str, Any]:
    """The outputs of a finished apply."""
    client = authority.issue("clickstream")
    return {
        "kafka_bootstrap_servers": "kafka.example:12835",
        "kafka_topic": "shop",
        "kafka_topic_partitions": 12,
        "project_ca_cert": authority.certificate,
        "kafka_access_cert": client.certificate,
        "kafka_access_key": client.key,
        "schema_registry_url": "https://kafka.example:12838",
        "postgres_host": "pg.example",
        "postgres_port": 12691,
        "postgres_database": "clickstream",
        "postgres_user": "clickstream",
        "postgres_password": "pg-secret",
        "postgres_admin_user": "avnadmin",
        "postgres_admin_password": "admin-secret",
        "opensearch_sink": "consumer",
        "opensearch_host": "search.example",
        "opensearch_port": 12692,
        "opensearch_user": "clickstream",
        "opensearch_password": "search-secret",
        "opensearch_dashboards_url": "https://search.example:443",
        "opensearch_admin_user": "avnadmin",
        "opensearch_admin_password": "admin-secret",
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for item in setting_fields():
        monkeypatch.delenv(item.name.upper(), raising=False)
    return tmp_path


@pytest.fixture
def write(folder: Path, values: dict[str, Any]) -> Write:
    """Writes the outputs with changes (None: absent) in the form of `terraform output -json`."""

    def to_file(**changes: Any) -> Path:
        merged = {**values, **changes}
        entries = {
            name: {"sensitive": False, "type": "string", "value": value}
            for name, value in merged.items()
            if value is not None
        }
        path = folder / "outputs.json"
        path.write_text(json.dumps(entries))
        return path

    return to_file


def files(folder: Path) -> dict[str, str]:
    """Return the texts of all files below a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# == The files ==================================================================================


def test_the_settings_name_the_servers_and_files_of_the_outputs(
    write: Write, values: dict[str, Any]
) -> None:
    assert main(["env", "--from", str(write())]) == 0
    settings = load()
    assert settings.kafka_bootstrap_servers == "kafka.example:12835"
    assert settings.kafka_security_protocol == "SSL"
    assert (settings.kafka_topic, settings.kafka_topic_partitions) == ("shop", 12)
    assert settings.postgres_password == "pg-secret"
    assert settings.postgres_sslmode == "verify-full"
    assert (settings.opensearch_host, settings.opensearch_port) == ("search.example", 12692)
    assert settings.opensearch_cafile == "", "OpenSearch's certificate is publicly trusted"
    for name, output in (
        (settings.kafka_ssl_cafile, "project_ca_cert"),
        (settings.postgres_sslrootcert, "project_ca_cert"),
        (settings.kafka_ssl_certfile, "kafka_access_cert"),
        (settings.kafka_ssl_keyfile, "kafka_access_key"),
    ):
        assert Path(name).read_text().endswith(values[output])


def test_the_files_have_mode_0600(write: Write, folder: Path) -> None:
    main(["env", "--from", str(write())])
    for name in WRITTEN:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_the_output_names_the_files_and_the_next_steps_and_no_secret(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["env", "--from", str(write())])
    out, err = capsys.readouterr()
    assert ".env, certs/ca.pem, certs/service.cert, certs/service.key" in out
    assert "create_schema.py" in out
    assert not err
    assert not [secret for secret in [*SECRETS, "PRIVATE KEY"] if secret in out]


def test_the_administrators_password_is_written_to_no_file(write: Write, folder: Path) -> None:
    outputs = write()
    main(["env", "--from", str(outputs)])
    outputs.unlink()
    assert not [name for name, text in files(folder).items() if "admin-secret" in text]


def test_with_the_connector_search_is_off_in_the_consumer(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["env", "--from", str(write(opensearch_sink="connector"))])
    assert load().opensearch_host == ""
    assert re.search(
        r"OPENSEARCH_HOST=search.example \S*python\S* \S*create_schema.py", capsys.readouterr().out
    )


def test_without_opensearch_its_outputs_may_be_absent(write: Write, values: dict[str, Any]) -> None:
    absent = {name: None for name in values if name.startswith("opensearch_")}
    assert main(["env", "--from", str(write(**{**absent, "opensearch_sink": "none"}))]) == 0
    assert load().opensearch_host == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_HOST", "localhost"),
        ("POSTGRES_PASSWORD", "pg-secret"),  # the same, but then the rest of .env is not used
        ("DATABASE_URL", "postgres://u:p@db/d"),
        ("KAFKA_CA_CERT", "-----BEGIN CERTIFICATE-----"),
        ("KAFKA_TOPIC", "another"),
    ],
)
def test_a_variable_that_overrides_the_file_is_a_warning(
    name: str,
    value: str,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    main(["env", "--from", str(write())])
    assert f"the environment sets {name} and overrides .env" in capsys.readouterr().err


def test_an_environment_with_the_same_settings_is_no_warning(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = write()
    main(["env", "--from", str(outputs)])
    for name, value in dotenv_values(".env").items():
        monkeypatch.setenv(name, value or "")
    capsys.readouterr()
    main(["env", "--from", str(outputs)])
    assert not capsys.readouterr().err


# == Files that it must not replace =============================================================


def test_its_own_files_are_replaced_without_a_backup(
    write: Write, authority: Authority, folder: Path
) -> None:
    main(["env", "--from", str(write())])
    renewed = authority.issue("clickstream")
    outputs = write(kafka_access_cert=renewed.certificate, kafka_access_key=renewed.key)
    assert main(["env", "--from", str(outputs)]) == 0
    assert (folder / "certs/service.cert").read_text().endswith(renewed.certificate)
    assert not list(folder.rglob("*backup*"))


@pytest.mark.parametrize("name", WRITTEN)
def test_a_hand_made_file_is_replaced_only_by_force_and_with_a_backup(
    name: str, write: Write, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = write()
    (folder / "certs").mkdir()
    (folder / name).write_text("MINE=1\n")
    before = files(folder)
    assert main(["env", "--from", str(outputs)]) == 1
    assert name in capsys.readouterr().err
    assert files(folder) == before, "no file may be changed, not even the others"

    assert main(["env", "--from", str(outputs), "--force"]) == 0
    (backup,) = folder.rglob("*backup*")
    assert backup.read_text() == "MINE=1\n"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_the_env_file_of_the_local_stack_is_not_replaced(write: Write, folder: Path) -> None:
    (folder / ".env").write_text("# Written by: python -m clickstream stack up\nKAFKA_TOPIC=a\n")
    assert main(["env", "--from", str(write())]) == 1
    assert dotenv_values(folder / ".env") == {"KAFKA_TOPIC": "a"}


# Runs the command and kills itself before the rename that completes the file of this number.
KILLED = """
import os, signal, sys
from clickstream.__main__ import main
replace, left = os.replace, int(sys.argv.pop())
def replace_or_die(source, target):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    replace(source, target)
os.replace = replace_or_die
main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("number", range(len(WRITTEN)))
def test_after_a_kill_at_any_file_each_file_is_complete(
    number: int, write: Write, authority: Authority, folder: Path
) -> None:
    main(["env", "--from", str(write())])
    old = {name: (folder / name).read_text() for name in WRITTEN}
    renewed = authority.issue("clickstream")
    outputs = write(
        project_ca_cert=Authority("another").certificate,
        kafka_access_cert=renewed.certificate,
        kafka_access_key=renewed.key,
        postgres_password="reset-secret",
    )
    command = [sys.executable, "-c", KILLED, "env", "--from", str(outputs), str(number)]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=path, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    left = {name: (folder / name).read_text() for name in WRITTEN}
    for name in set(files(folder)) - {"outputs.json"}:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name

    assert main(["env", "--from", str(outputs)]) == 0
    new = {name: (folder / name).read_text() for name in WRITTEN}
    assert not [name for name in WRITTEN if old[name] == new[name]]
    assert all(left[name] in (old[name], new[name]) for name in WRITTEN)
    assert sum(left[name] == new[name] for name in WRITTEN) == number


# == Checks before anything is replaced =========================================================


def bad_credentials(authority: Authority) -> dict[str, tuple[dict[str, str], str]]:
    """Return changes to the outputs, each with a word of its error."""
    expired = authority.issue("clickstream", begins=-900)
    early = authority.issue("clickstream", begins=2)
    locked = key_text(ec.generate_private_key(ec.SECP256R1()), b"passphrase")
    return {
        "no CA": ({"project_ca_cert": ""}, "project_ca_cert"),
        "a CA that is not PEM": ({"project_ca_cert": "-----BEGIN CERTIFICATE-----"}, "PEM"),
        "an expired CA": ({"project_ca_cert": Authority("old", days=0).certificate}, "expired"),
        "no certificate": ({"kafka_access_cert": "x"}, "kafka_access_cert"),
        "no key": ({"kafka_access_key": "x"}, "kafka_access_key"),
        "a key with a passphrase": ({"kafka_access_key": locked}, "passphrase"),
        "another's key": ({"kafka_access_key": authority.issue("other").key}, "belong together"),
        "an expired certificate": (
            {"kafka_access_cert": expired.certificate, "kafka_access_key": expired.key},
            "expired",
        ),
        "a certificate that is not valid yet": (
            {"kafka_access_cert": early.certificate, "kafka_access_key": early.key},
            "clock",
        ),
    }


@pytest.mark.parametrize("case", bad_credentials(Authority("names only")))
def test_unusable_credentials_replace_nothing(
    case: str,
    write: Write,
    folder: Path,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes, word = bad_credentials(authority)[case]
    main(["env", "--from", str(write())])
    outputs = write(**changes)
    before = files(folder)
    capsys.readouterr()
    assert main(["env", "--from", str(outputs)]) == 1
    out, err = capsys.readouterr()
    assert word in err
    assert "; " in err, "no cure"
    assert err.count("\n") == 1
    assert not [secret for secret in [*SECRETS, "BEGIN"] if secret in out + err]
    assert files(folder) == before


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{}", "nothing has been applied yet"),
        ("not JSON", "terraform output -json"),
        ("[]", "terraform output -json"),
        ('{"kafka_topic": "flat"}', "terraform output -json"),
        ('{"kafka_topic": {"value": "shop"}}', "kafka_bootstrap_servers"),
    ],
)
def test_missing_or_malformed_outputs_are_an_error_for_the_user(
    text: str, word: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "outputs.json").write_text(text)
    assert main(["env", "--from", "outputs.json"]) == 1
    err = capsys.readouterr().err
    assert word in err
    assert err.count("\n") == 1
    assert list(files(folder)) == ["outputs.json"]


def test_missing_outputs_are_named(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--from", str(write(postgres_host=None, opensearch_host=None))]) == 1
    err = capsys.readouterr().err
    assert "postgres_host, opensearch_host" in err
    assert "apply" in err


def test_an_output_of_another_type_is_named(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["env", "--from", str(write(postgres_port="12691"))]) == 1
    assert "postgres_port" in capsys.readouterr().err


# == Terraform itself ===========================================================================


def test_a_missing_terraform_is_an_error_for_the_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "terraform").mkdir()
    monkeypatch.setenv("PATH", str(folder))
    assert main(["env"]) == 1
    assert "terraform is not installed" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_missing_terraform_folder_is_an_error_for_the_user(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["env"]) == 1
    assert "--terraform" in capsys.readouterr().err


@pytest.fixture
def state(write: Write, folder: Path) -> Path:
    """A folder with the state of a finished apply; skips if Terraform is not installed."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    entries = json.loads(write().read_text())
    for entry in entries.values():
        entry["type"] = "number" if isinstance(entry["value"], int) else "string"
    (folder / "outputs.json").unlink()
    (folder / "module").mkdir()
    state = {"version": 4, "serial": 1, "lineage": "test", "outputs": entries, "resources": []}
    (folder / "module" / "terraform.tfstate").write_text(json.dumps(state))
    return folder / "module"


def test_the_outputs_are_read_from_terraform(state: Path) -> None:
    assert main(["env", "--terraform", str(state)]) == 0
    assert load().postgres_host == "pg.example"


def test_outputs_before_the_first_apply_are_an_error_for_the_user(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "terraform.tfstate").unlink()
    assert main(["env", "--terraform", str(state)]) == 1
    assert "nothing has been applied yet" in capsys.readouterr().err


def test_an_error_of_terraform_is_shown(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "terraform.tfstate").write_text("{")
    assert main(["env", "--terraform", str(state)]) == 1
    err = capsys.readouterr().err
    assert "Error: Unsupported state file format" in err
    assert err.count("\n") == 1


# == Names of outputs and settings ==============================================================


def declared_outputs() -> dict[str, bool]:
    """The outputs of the module: name to whether it is sensitive."""
    blocks = re.split(r"^output ", (ROOT / "terraform/outputs.tf").read_text(), flags=re.M)[1:]
    return {block.split('"')[1]: "sensitive   = true" in block for block in blocks}


def test_the_outputs_that_are_read_are_those_of_the_module() -> None:
    assert {item.name for item in fields(Outputs)} == declared_outputs().keys() - FOR_PEOPLE


def test_sensitive_outputs_are_not_in_the_repr() -> None:
    hidden = {item.name for item in fields(Outputs) if not item.repr}
    sensitive = {name for name, secret in declared_outputs().items() if secret}
    assert hidden == sensitive - FOR_PEOPLE


def test_every_name_that_is_written_is_a_setting(write: Write) -> None:
    written = env.settings_of(parse(write().read_text(), "outputs"))
    names = {item.name.upper() for item in setting_fields()}
    assert written.keys() <= names
    assert Settings.from_mapping(written)


def test_every_output_is_written_under_its_own_name(write: Write) -> None:
    outputs = parse(write().read_text(), "outputs")
    written = env.settings_of(outputs)
    elsewhere = {
        "project_ca_cert", "kafka_access_cert", "kafka_access_key",  # certs/
        "postgres_admin_user", "postgres_admin_password",  # `clickstream grant`
        "opensearch_sink",  # decides on OPENSEARCH_HOST
    }  # fmt: skip
    for item in fields(Outputs):
        if item.name not in elsewhere:
            assert written[item.name.upper()] == str(getattr(outputs, item.name))


def test_secrets_do_not_show_in_the_repr(write: Write) -> None:
    shown = repr(parse(write().read_text(), "outputs"))
    assert not [secret for secret in [*SECRETS, "BEGIN"] if secret in shown]
