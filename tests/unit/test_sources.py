"""The environment and `.env` as sources of the settings, and URLs with all details of a server."""

from pathlib import Path

import pytest

from clickstream import sources
from clickstream.clients.addresses import kafka_address, opensearch_address, postgres_address
from clickstream.errors import UsageError
from clickstream.settings import Settings, load

URL = "postgresql://shop:p%40ss%2Fword%23@db.example:5433/events?sslmode=require"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scripts(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that counts as that of the scripts."""
    folder = tmp_path_factory.mktemp("scripts")
    monkeypatch.setattr(sources, "SCRIPTS_FOLDER", folder)
    return folder


def write(folder: Path, text: str, name: str = ".env") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def refusal(env_file: Path | None, environment: dict[str, str]) -> str:
    with pytest.raises(UsageError) as refused:
        load(env_file, environment)
    return str(refused.value)


# == The file ===================================================================================


def test_the_environment_takes_precedence_over_the_file(folder: Path) -> None:
    file = write(folder, "KAFKA_TOPIC=of-the-file\nPOSTGRES_PORT=5433\n", "settings")
    settings = load(file, environment={"KAFKA_TOPIC": "of-the-environment"})
    assert (settings.kafka_topic, settings.postgres_port) == ("of-the-environment", 5433)


def test_a_variable_set_to_the_empty_string_counts_as_set(folder: Path) -> None:
    file = write(folder, "OPENSEARCH_HOST=search\nKAFKA_TOPIC=mine\n", "settings")
    assert load(file, environment={"OPENSEARCH_HOST": ""}).opensearch_host == ""
    assert "KAFKA_TOPIC must not be empty" in refusal(file, {"KAFKA_TOPIC": ""})


def test_the_file_is_read_from_the_working_directory_then_from_the_folder_of_the_scripts(
    folder: Path, scripts: Path
) -> None:
    assert load(environment={}) == Settings()
    write(scripts, "KAFKA_TOPIC=of-the-scripts\n")
    assert load(environment={}).kafka_topic == "of-the-scripts"
    write(folder, "KAFKA_GROUP_ID=here\n")
    settings = load(environment={})
    assert (settings.kafka_topic, settings.kafka_group_id) == ("clickstream-events", "here")


def test_in_a_deleted_working_directory_the_file_is_read_from_the_folder_of_the_scripts(
    folder: Path, scripts: Path
) -> None:
    folder.rmdir()
    assert load(environment={}) == Settings()
    write(scripts, "KAFKA_TOPIC=of-the-scripts\n")
    assert load(environment={}).kafka_topic == "of-the-scripts"


def test_relative_paths_in_the_file_of_the_scripts_folder_are_relative_to_it(
    folder: Path, scripts: Path
) -> None:
    text = "KAFKA_SSL_CAFILE=certs/ca.pem\nPOSTGRES_SSLROOTCERT=system\nOPENSEARCH_CAFILE=/ca.pem\n"
    write(scripts, text)
    settings = load(environment={})
    assert settings.kafka_ssl_cafile == str(scripts / "certs/ca.pem")
    assert (settings.postgres_sslrootcert, settings.opensearch_cafile) == ("system", "/ca.pem")
    write(folder, text)
    assert load(environment={}).kafka_ssl_cafile == "certs/ca.pem"


def test_a_file_given_by_option_must_exist(folder: Path) -> None:
    assert "nowhere does not exist; check --env-file" in refusal(folder / "nowhere", {})


def test_a_value_of_the_file_is_not_interpolated(folder: Path) -> None:
    file = write(folder, "POSTGRES_PASSWORD=${HOME}$x\nNO_VALUE\nOF_ANOTHER_PROGRAM=1\n")
    assert load(file, environment={}).postgres_password == "${HOME}$x"


def test_a_byte_order_mark_is_skipped(folder: Path) -> None:
    (folder / ".env").write_bytes("KAFKA_TOPIC=mine\r\n".encode("utf-8-sig"))
    assert load(environment={}).kafka_topic == "mine"


def test_a_pem_text_may_span_lines_of_the_file(folder: Path) -> None:
    write(folder, 'KAFKA_CA_CERT="-----BEGIN CERTIFICATE-----\nabc\n"\nKAFKA_TOPIC=mine\n')
    settings = load(environment={})
    assert settings.kafka_ca_cert == "-----BEGIN CERTIFICATE-----\nabc"
    assert settings.kafka_topic == "mine"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("A=1\r\n".encode("utf-16"), 1, "UTF-16, which PowerShell writes by default; save"),
        ("A=1\nB=2\n".encode("utf-16-le"), 1, "is not UTF-8 text; save"),
        (b"A=1\nB=\xe4\n", 2, "is not UTF-8 text; save"),
        (b"A=1\n\n# x\nPOSTGRES_PASSWORD hidden\n", 4, "is not NAME=value; correct it"),
        (b"A=1\n\n\nPOSTGRES_PASSWORD: hidden\n", 4, "is not NAME=value; correct it"),
        (b"A=1\nPOSTGRES_PASSWORD='hidden\nB=2\n", 2, "is not NAME=value; correct it"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_not_repeated(
    content: bytes, line: int, words: str, folder: Path
) -> None:
    (folder / ".env").write_bytes(content)
    text = refusal(None, {})
    assert text.startswith(f"line {line} of {folder / '.env'} ")
    assert words in text
    assert "hidden" not in text


# == One source for each server =================================================================


@pytest.mark.parametrize(
    ("environment", "file", "expected"),
    [
        ("POSTGRES_HOST=a", "POSTGRES_HOST=b POSTGRES_PASSWORD=hidden", ("a", "")),
        ("POSTGRES_HOST=a DATABASE_URL=postgres://u:p@c/d", "POSTGRES_PASSWORD=hidden", ("a", "")),
        ("DATABASE_URL=postgres://u:p@c/d", "POSTGRES_HOST=b POSTGRES_PASSWORD=hidden", ("c", "p")),
        ("DATABASE_URL=postgres://u@c/d", "DATABASE_URL=postgres://u:hidden@b/d", ("c", "")),
        ("KAFKA_TOPIC=t", "POSTGRES_HOST=b POSTGRES_PASSWORD=p", ("b", "p")),
        ("", "POSTGRES_HOST=b DATABASE_URL=postgres://u:hidden@c/d", ("b", "")),
        ("", "DATABASE_URL=postgres://u:p@c/d", ("c", "p")),
        ("", "", ("localhost", "")),
    ],
)
def test_the_environment_precedes_the_file_and_the_parts_precede_the_url(
    environment: str, file: str, expected: tuple[str, str], folder: Path
) -> None:
    path = write(folder, file.replace(" ", "\n"))
    settings = load(path, dict(pair.split("=", 1) for pair in environment.split()))
    assert (settings.postgres_host, settings.postgres_password) == expected


def test_each_server_has_a_source_of_its_own(folder: Path) -> None:
    write(
        folder,
        "KAFKA_BOOTSTRAP_SERVERS=k:1\nKAFKA_SASL_PASSWORD=hidden\n"
        "POSTGRES_HOST=p\nPOSTGRES_USER=u\nOPENSEARCH_HOST=o\nOPENSEARCH_USER=hidden\n",
    )
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "e:1", "OPENSEARCH_URI": "https://search"}
    settings = load(None, environment)
    assert (settings.kafka_bootstrap_servers, settings.kafka_sasl_password) == ("e:1", "")
    assert (settings.postgres_host, settings.postgres_user) == ("p", "u")
    assert (settings.opensearch_host, settings.opensearch_user) == ("search", "")


@pytest.mark.parametrize("file", ["POSTGRES_HOST=db", "DATABASE_URL=postgres://u:p@db/d"])
def test_details_of_one_server_in_both_sources_are_refused(file: str, folder: Path) -> None:
    path = write(folder, file)
    text = refusal(path, {"POSTGRES_PASSWORD": "hidden"})
    assert "POSTGRES_PASSWORD" in text
    assert "must come from one of the two: set POSTGRES_HOST" in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("DATABASE_URL=postgres://u:p@db/d POSTGRES_SSLMODE=require", "POSTGRES_SSLMODE"),
        ("OPENSEARCH_URI=https://search OPENSEARCH_CAFILE=ca.pem", "OPENSEARCH_CAFILE"),
    ],
)
def test_a_url_and_some_of_its_parts_together_are_refused(given: str, names: str) -> None:
    with pytest.raises(UsageError, match=f"{names} are both set; set either the URL or all parts"):
        Settings.from_mapping(dict(pair.split("=", 1) for pair in given.split()))


# == URLs =======================================================================================


def test_a_database_url_gives_all_details() -> None:
    settings = Settings.from_mapping({"DATABASE_URL": URL + "&sslrootcert=/etc/my%20ca.pem"})
    assert settings.postgres_host == "db.example"
    assert settings.postgres_port == 5433
    assert settings.postgres_database == "events"
    assert (settings.postgres_user, settings.postgres_password) == ("shop", "p@ss/word#")
    assert (settings.postgres_sslmode, settings.postgres_sslrootcert) == (
        "require",
        "/etc/my ca.pem",
    )


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgres://u@[::1]/d", "::1", 5432),
        ("postgres://u@[fe80::2]:5433/d", "fe80::2", 5433),
        ("postgres://u@/d?host=/var/run/postgresql", "/var/run/postgresql", 5432),
        ("postgres://u@%2Fcloudsql%2Fa%3Ab%3Ac/d", "/cloudsql/a:b:c", 5432),
        (" postgres://u@db/d?application_name=x&connect_timeout=5\n", "db", 5432),
    ],
)
def test_the_host_of_a_database_url(url: str, host: str, port: int) -> None:
    settings = Settings.from_mapping({"DATABASE_URL": url})
    assert (settings.postgres_host, settings.postgres_port) == (host, port)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://u:p%40ss@search:9243", ("search", 9243, "u", "p@ss", True)),
        ("https://u:p@search/", ("search", 443, "u", "p", True)),
        ("http://search", ("search", 9200, "", "", False)),
        ("https://[::1]:9200", ("::1", 9200, "", "", True)),
        ("", ("", 9200, "", "", True)),
    ],
)
def test_an_opensearch_uri_gives_all_details(
    uri: str, expected: tuple[str, int, str, str, bool]
) -> None:
    settings = Settings.from_mapping({"OPENSEARCH_URI": uri})
    assert expected == (
        settings.opensearch_host,
        settings.opensearch_port,
        settings.opensearch_user,
        settings.opensearch_password,
        settings.opensearch_use_ssl,
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://u:hidden@db/d",
        "host=db password=hidden",
        "postgres://u:hidden%zz@db/d",
        "postgres://u:hidden/x@db/d",
        "postgres://u:hidden@x@db/d",
        "postgres://u:hidden@db",
        "postgres://:hidden@db/d",
        "postgres://u:hidden@db:port/d",
        "postgres://u:hidden@a,b/d?target_session_attrs=read-write",
        "postgres://u:hidden@db/d?pgbouncer=true",
        "postgres://u:hidden@db/d?sslmode=hidden",
        "postgres://u:hidden@db/d?channel_binding=require",
    ],
)
def test_a_malformed_database_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings.from_mapping({"DATABASE_URL": url})
    assert "DATABASE_URL" in str(refused.value)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "uri",
    [
        "search.example:9200",
        "ftp://u:hidden@search",
        "https://u:hidden@search:port",
        "https://u:hidden@search/path",
        "https://u:hidden@search?x=1",
        "https://u:hidden#x@search",
        "https://u:hidden@[::1",
        "https://",
    ],
)
def test_a_malformed_opensearch_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UsageError, match=r"^OPENSEARCH_URI must be https://") as refused:
        Settings.from_mapping({"OPENSEARCH_URI": uri})
    assert "hidden" not in str(refused.value)


# == The source of an address ===================================================================


def test_an_address_names_its_source(folder: Path, scripts: Path) -> None:
    write(folder, "OPENSEARCH_HOST=search\n")
    settings = load(None, {"DATABASE_URL": URL})
    file = folder / ".env"
    assert kafka_address(settings) == (
        f"Kafka at localhost:9092 (the default: {file} does not set it)"
    )
    assert postgres_address(settings) == (
        "PostgreSQL at db.example:5433 (DATABASE_URL in the environment), database events"
    )
    assert opensearch_address(settings) == f"OpenSearch at search:9200 (OPENSEARCH_HOST in {file})"
    file.unlink()
    assert kafka_address(load(None, {})) == (
        f"Kafka at localhost:9092 (the default: no .env in {folder} or {scripts})"
    )


def test_an_ipv6_address_is_written_in_brackets() -> None:
    settings = Settings.from_mapping({"POSTGRES_HOST": "::1"})
    assert postgres_address(settings) == "PostgreSQL at [::1]:5432, database clickstream"
