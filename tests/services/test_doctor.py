"""`python -m clickstream doctor` names each problem and says what to do about it.

The servers of the tests have neither TLS nor passwords; proxies in front of them add both.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from clickstream.admin import setup
from clickstream.admin.search_setup import apply_search
from clickstream.clients import network
from clickstream.clients.kafka_handshake import endpoints
from clickstream.doctor import (
    kafka_checks,
    opensearch_checks,
    position_checks,
    postgres_checks,
)
from clickstream.doctor.checks import Check, CheckStatus, Finding, run_checks
from clickstream.indexer.index_names import IndexNames
from clickstream.local import kafka_server, processes, server
from clickstream.model.sessions import METRICS_VERSION
from clickstream.settings import Settings
from clickstream.storage import schema
from clickstream.storage.schema_version import SCHEMA_VERSION
from tests.pki import NOW, Authority, Pair
from tests.services.databases import Query
from tests.services.http_proxy import password_proxy
from tests.services.own_server import OwnServer
from tests.services.scripts import RunScript
from tests.services.tls_proxy import tls_proxy
from tests.services.waiting import eventually

NAMES = IndexNames("clickstream")
# Every problem ends with what to do.
REMEDY = r"; .{10,}"

INSERT_POSITION = """
    INSERT INTO stream_positions (topic, topic_id, partition, position) VALUES (%s, %s, 1, %s)
"""

Checks = Callable[[Settings, datetime], Iterator[Check]]
StartProxy = Callable[..., int]


def problem(checks: Checks, settings: Settings) -> Finding:
    """Return the only problem that the checks find; the checks after it must be skipped."""
    found = list(run_checks(checks(settings, NOW)))
    one = next(finding for finding in found if finding.status is CheckStatus.PROBLEM)
    after = found[found.index(one) + 1 :]
    assert all(finding.status is CheckStatus.SKIPPED for finding in after), found
    assert re.search(REMEDY, one.text), one.text
    assert "\n" not in one.text
    return one


def findings(checks: Checks, settings: Settings) -> dict[str, Finding]:
    """Return the findings by the names of the checks."""
    return {finding.name: finding for finding in run_checks(checks(settings, NOW))}


def problems(checks: Checks, settings: Settings) -> list[Finding]:
    """Return the problems that the checks find."""
    return [
        finding
        for finding in run_checks(checks(settings, NOW))
        if finding.status is CheckStatus.PROBLEM
    ]


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The certification authority that the settings name."""
    return Authority("the operator's CA")


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeout: servers on this machine answer within seconds or not at all."""
    monkeypatch.setattr(network, "TIMEOUT_SECONDS", 6.0)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


# == The command ================================================================================


def test_without_a_problem_the_exit_status_is_0(run_script: RunScript) -> None:
    done = run_script("clickstream", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All is well.\n")
    assert "PROBLEM" not in done.stdout
    assert not done.stderr


def test_each_stopped_server_is_reported(run_script: RunScript, closed_port: int) -> None:
    done = run_script(
        "clickstream", "doctor",
        KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{closed_port}",
        POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(closed_port),
        OPENSEARCH_HOST="127.0.0.1", OPENSEARCH_PORT=str(closed_port),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.count("PROBLEM") == 3
    assert done.stdout.count(f"nothing listens at 127.0.0.1:{closed_port}; is the server run") == 3
    assert done.stdout.endswith("3 problems found.\n")
    assert "Traceback" not in done.stderr


def test_no_secret_is_ever_shown(run_script: RunScript, authority: Authority) -> None:
    secret = "correct-horse-battery"
    done = run_script(
        "clickstream", "doctor",
        KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT", KAFKA_SASL_USERNAME="clickstream",
        KAFKA_SASL_PASSWORD=secret, POSTGRES_PASSWORD=secret, OPENSEARCH_PASSWORD=secret,
        KAFKA_SSL_CERTFILE="a", KAFKA_SSL_KEYFILE="b",
    )  # fmt: skip
    assert done.returncode == 1
    assert secret not in done.stdout + done.stderr
    assert authority.certificate not in done.stdout


def test_invalid_settings_are_reported_before_anything_else(run_script: RunScript) -> None:
    done = run_script("clickstream", "doctor", POSTGRES_PORT="abc")
    assert done.returncode == 1
    assert "POSTGRES_PORT" in done.stdout
    assert "Traceback" not in done.stderr


# == PostgreSQL =================================================================================


def test_a_stopped_postgres_is_a_problem_until_it_is_started_again(own_postgres: OwnServer) -> None:
    settings = Settings.from_mapping(own_postgres.environment)
    assert not problems(postgres_checks.checks, settings)
    own_postgres.stop()
    assert problem(postgres_checks.checks, settings).name == "connection"
    own_postgres.start()
    assert not problems(postgres_checks.checks, settings)


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"postgres_host": "nowhere.invalid"}, "name", "POSTGRES_HOST"),
        ({"postgres_password": "wrong"}, "credentials", "POSTGRES_PASSWORD"),
        ({"postgres_user": "nobody"}, "credentials", "POSTGRES_USER"),
        ({"postgres_database": "nowhere"}, "credentials", "POSTGRES_DATABASE"),
        ({"postgres_sslmode": "require"}, "TLS", "has no TLS"),
        ({"postgres_sslmode": "verify-full"}, "CA", "POSTGRES_SSLROOTCERT"),
        (
            {"postgres_sslmode": "verify-full", "postgres_sslrootcert": "none.pem"},
            "CA",
            "none.pem of POSTGRES_SSLROOTCERT cannot be read",
        ),
    ],
)
def test_each_wrong_postgres_setting_is_named(
    changes: dict[str, Any],
    name: str,
    words: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "TEST_POSTGRES_HOST" in os.environ and name in ("TLS", "credentials"):
        pytest.skip("depends on how the given server lets clients in")
    monkeypatch.setattr(postgres_checks, "LIBPQ_ROOT", Path("no-root.crt"))
    found = problem(postgres_checks.checks, replace(settings, **changes))
    assert found.name == name
    assert words in found.text


def test_another_kind_of_server_at_the_postgres_port_is_recognised(settings: Settings) -> None:
    (broker,) = endpoints(settings.kafka_bootstrap_servers)
    other = replace(
        settings, postgres_host=broker.host, postgres_port=broker.port, postgres_sslmode="prefer"
    )
    found = problem(postgres_checks.checks, other)
    assert (found.name, "is not PostgreSQL" in found.text) == ("TLS", True)


def test_missing_tables_name_the_command_that_creates_them(settings: Settings) -> None:
    schema.drop(settings)
    found = problem(postgres_checks.checks, settings)
    assert found.name == "tables"
    assert found.text == "the tables are missing; run: python create_schema.py"


def test_a_missing_table_is_named(settings: Settings, query: Query) -> None:
    query("DROP TABLE session_changes")
    assert "session_changes" in problem(postgres_checks.checks, settings).text


def test_tables_of_another_version_say_what_has_to_be_upgraded(
    settings: Settings, query: Query
) -> None:
    query("INSERT INTO schema_version (version) VALUES (%s)", [SCHEMA_VERSION + 1])
    assert "newer version of the program" in problem(postgres_checks.checks, settings).text
    query("DELETE FROM schema_version")
    assert "create_schema.py" in problem(postgres_checks.checks, settings).text


def test_records_that_retention_removed_unread_are_counted(
    settings: Settings, admin: KafkaAdminClient, query: Query
) -> None:
    """The local broker removes none, so the position is one before its first record."""
    (unread,) = run_checks(position_checks.checks(settings))
    assert unread.status is CheckStatus.OK
    topic_id = str(admin.describe_topics([settings.kafka_topic])[0]["topic_id"])
    query(INSERT_POSITION, (settings.kafka_topic, topic_id, -7))
    (unread,) = run_checks(position_checks.checks(settings))
    assert unread.status is CheckStatus.PROBLEM
    assert "removed 7 records of topic" in unread.text
    assert "(partition 1: offsets -7 to -1); the consumer continues after them" in unread.text


def test_a_session_rule_that_differs_from_the_stored_one_is_a_problem(
    settings: Settings, query: Query
) -> None:
    assert findings(postgres_checks.checks, settings)["session rule"].text == "none stored yet"
    query(
        "INSERT INTO session_rule"
        " (timeout_seconds, start_events, end_events, version, metrics_version)"
        " VALUES (%s, '{}', '{}', 1, %s)",
        [settings.session_timeout_seconds, METRICS_VERSION],
    )
    assert not problems(postgres_checks.checks, settings)
    other = replace(settings, session_timeout_seconds=60)
    found = problem(postgres_checks.checks, other)
    assert found.name == "session rule"
    assert "--rebuild-sessions" in found.text


def test_a_read_only_database_is_a_problem(settings: Settings, query: Query) -> None:
    query(f'ALTER DATABASE "{settings.postgres_database}" SET default_transaction_read_only = on')
    found = problem(postgres_checks.checks, settings)
    assert (found.name, "is read-only" in found.text) == ("credentials", True)


# == PostgreSQL behind TLS ======================================================================


@pytest.fixture
def postgres_proxy(tmp_path: Path, settings: Settings) -> Iterator[StartProxy]:
    """Starts a TLS proxy in front of the test's PostgreSQL: `postgres_proxy(pair)` is its port."""
    upstream = (settings.postgres_host, settings.postgres_port)
    with ExitStack() as proxies:
        yield lambda pair: proxies.enter_context(tls_proxy(tmp_path, upstream, pair, postgres=True))


def verified(settings: Settings, port: int, authority: Authority, folder: Path) -> Settings:
    """Return settings for PostgreSQL on this port, with the server verified by the authority."""
    root = folder / "root.pem"
    root.write_text(authority.certificate)
    return replace(
        settings,
        postgres_host="localhost",
        postgres_port=port,
        postgres_sslmode="verify-full",
        postgres_sslrootcert=str(root),
    )


def test_postgres_with_verified_tls_has_no_problem(
    settings: Settings, postgres_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    port = postgres_proxy(authority.issue("server", hosts=("localhost",), days=100))
    found = findings(postgres_checks.checks, verified(settings, port, authority, tmp_path))
    assert {finding.status for finding in found.values()} == {CheckStatus.OK}, found
    assert f"valid until {NOW + timedelta(days=100):%Y-%m-%d}" in found["TLS"].text


def test_a_missing_ca_file_is_no_problem_if_the_sslmode_does_not_use_it(
    settings: Settings, postgres_proxy: StartProxy, authority: Authority
) -> None:
    port = postgres_proxy(authority.issue("server", hosts=("localhost",)))
    changed = replace(
        settings,
        postgres_host="localhost",
        postgres_port=port,
        postgres_sslmode="prefer",
        postgres_sslrootcert="none.pem",
    )
    assert not problems(postgres_checks.checks, changed)


def server_certificates(authority: Authority) -> dict[str, tuple[Pair, str]]:
    """Return certificates that a client must refuse, each with words of its error."""
    here = ("localhost",)
    return {
        "unknown CA": (Authority("another").issue("server", hosts=here), "is not signed by"),
        "expired": (authority.issue("server", hosts=here, begins=-900), "has expired"),
        "not valid yet": (authority.issue("server", hosts=here, begins=2), "is not valid yet"),
        "another name": (authority.issue("server", hosts=("db.example",)), "for another name"),
    }


SERVER_CASES = list(server_certificates(Authority("names only")))


@pytest.mark.parametrize("case", SERVER_CASES)
def test_a_postgres_certificate_is_refused_with_the_reason(
    case: str, settings: Settings, postgres_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    pair, words = server_certificates(authority)[case]
    found = problem(
        postgres_checks.checks, verified(settings, postgres_proxy(pair), authority, tmp_path)
    )
    assert found.name == "TLS"
    assert words in found.text


# == Kafka ======================================================================================


@pytest.mark.parametrize(
    ("listed", "name", "words"),
    [
        ("nowhere.invalid:9092", "name", "KAFKA_BOOTSTRAP_SERVERS cannot be resolved"),
        ("localhost", "name", "not a host and a port"),
        ("localhost:x", "name", "not a host and a port"),
    ],
)
def test_malformed_and_unknown_kafka_servers_are_named(
    listed: str, name: str, words: str, settings: Settings
) -> None:
    found = problem(kafka_checks.checks, replace(settings, kafka_bootstrap_servers=listed))
    assert found.name == name
    assert words in found.text


def test_a_stopped_broker_is_a_problem(own_broker: OwnServer) -> None:
    settings = Settings.from_mapping(own_broker.environment)
    setup.apply_topic(settings)
    assert not problems(kafka_checks.checks, settings)
    own_broker.stop()
    assert problem(kafka_checks.checks, settings).name == "connection"


def test_a_missing_topic_is_named(settings: Settings) -> None:
    found = problem(kafka_checks.checks, replace(settings, kafka_topic="test-never-made"))
    assert (found.name, "test-never-made" in found.text) == ("topic", True)


def test_the_number_of_partitions_is_reported(settings: Settings, partitions: int) -> None:
    assert f"{partitions} partitions" in findings(kafka_checks.checks, settings)["topic"].text


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_another_kind_of_server_at_the_kafka_port_is_recognised(
    protocol: str, settings: Settings
) -> None:
    other = f"{settings.postgres_host}:{settings.postgres_port}"
    found = problem(
        kafka_checks.checks,
        replace(settings, kafka_bootstrap_servers=other, kafka_security_protocol=protocol),
    )
    assert found.name == {"PLAINTEXT": "credentials", "SSL": "TLS"}[protocol]


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[Settings]:
    """A broker that requires authentication and has no users."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    built = kafka_server.broker(tmp_path)
    built.prepare()
    process = processes.start(
        [*built.command(port), "--authentication"], log=built.log, folder=built.folder
    )
    settings = Settings.from_mapping(
        {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_USERNAME": "clickstream",
            "KAFKA_SASL_PASSWORD": "wrong",
        }
    )
    eventually(
        lambda: findings(kafka_checks.checks, settings)["connection"].status is CheckStatus.OK
    )
    yield settings
    server.stop(built, process)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_that_the_broker_refuses_is_a_problem_of_the_credentials(
    mechanism: str, guarded_broker: Settings
) -> None:
    found = problem(kafka_checks.checks, replace(guarded_broker, kafka_sasl_mechanism=mechanism))
    assert found.name == "credentials"
    assert "refuses KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD" in found.text


# == Kafka behind TLS ===========================================================================


@pytest.fixture
def kafka_proxy(tmp_path: Path, settings: Settings) -> Iterator[StartProxy]:
    """Starts a TLS proxy in front of the broker: `kafka_proxy(pair, client_ca)` is its port."""
    (broker, *_) = endpoints(settings.kafka_bootstrap_servers)
    with ExitStack() as proxies:
        yield lambda pair, client_ca="": proxies.enter_context(
            tls_proxy(tmp_path, (broker.host, broker.port), pair, client_ca=client_ca)
        )


def with_client(settings: Settings, folder: Path, authority: Authority, pair: Pair) -> Settings:
    """Return settings for Kafka with TLS, this client certificate and the authority as the CA."""
    texts = {"ca.pem": authority.certificate, "service.cert": pair.certificate}
    for name, text in {**texts, "service.key": pair.key}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return replace(
        settings,
        kafka_security_protocol="SSL",
        kafka_ssl_cafile=str(folder / "ca.pem"),
        kafka_ssl_certfile=str(folder / "service.cert"),
        kafka_ssl_keyfile=str(folder / "service.key"),
    )


def at_port(settings: Settings, port: int) -> Settings:
    return replace(settings, kafka_bootstrap_servers=f"localhost:{port}")


def test_a_client_certificate_is_accepted_if_the_broker_accepts_it(
    settings: Settings,
    kafka_proxy: StartProxy,
    authority: Authority,
    tmp_path: Path,
) -> None:
    """The broker behind the proxy directs clients to its own port, which has no TLS."""
    port = kafka_proxy(authority.issue("server", hosts=("localhost",)), authority.certificate)
    client = with_client(settings, tmp_path, authority, authority.issue("clickstream"))
    found = findings(kafka_checks.checks, at_port(client, port))
    for name in ("CA", "certificate", "key's mode", "renewal", "TLS", "credentials"):
        assert found[name].status is CheckStatus.OK, found[name]
    assert found["credentials"].text == "the client certificate is accepted"
    assert found["brokers"].status is CheckStatus.PROBLEM
    assert f"directs clients to {settings.kafka_bootstrap_servers}" in found["brokers"].text


def as_text(settings: Settings) -> Settings:
    """Return settings with the texts of the certificate files instead of their names."""
    return replace(
        settings,
        kafka_ssl_cafile="",
        kafka_ssl_certfile="",
        kafka_ssl_keyfile="",
        kafka_ca_cert=Path(settings.kafka_ssl_cafile).read_text(),
        kafka_access_cert=Path(settings.kafka_ssl_certfile).read_text(),
        kafka_access_key=Path(settings.kafka_ssl_keyfile).read_text(),
    )


def test_client_certificates_as_text_are_checked_like_files(
    settings: Settings, kafka_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    port = kafka_proxy(authority.issue("server", hosts=("localhost",)), authority.certificate)
    client = with_client(settings, tmp_path, authority, authority.issue("clickstream"))
    found = findings(kafka_checks.checks, at_port(as_text(client), port))
    for name in ("CA", "certificate", "renewal", "TLS", "credentials"):
        assert found[name].status is CheckStatus.OK, found[name]
    assert found["certificate"].text == "KAFKA_ACCESS_CERT, KAFKA_ACCESS_KEY"
    assert "key's mode" not in found


def test_a_problem_of_a_certificate_as_text_names_its_setting(
    settings: Settings, kafka_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    client = with_client(settings, tmp_path, authority, authority.issue("clickstream"))
    broken = replace(as_text(client), kafka_access_key="-----BEGIN PRIVATE KEY-----")
    found = problem(kafka_checks.checks, broken)
    assert found.text.startswith("KAFKA_ACCESS_KEY is not a private key in PEM format; ")
    stranger = Authority("another").issue("server", hosts=("localhost",))
    found = problem(kafka_checks.checks, at_port(as_text(client), kafka_proxy(stranger)))
    assert "is not signed by a CA of KAFKA_CA_CERT" in found.text


@pytest.mark.parametrize("case", SERVER_CASES)
def test_a_broker_certificate_is_refused_with_the_reason(
    case: str, settings: Settings, kafka_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    pair, words = server_certificates(authority)[case]
    client = with_client(settings, tmp_path, authority, authority.issue("clickstream"))
    found = problem(kafka_checks.checks, at_port(client, kafka_proxy(pair)))
    assert found.name == "TLS"
    assert words in found.text


def test_a_client_certificate_of_another_project_is_a_problem_of_the_credentials(
    settings: Settings, kafka_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    port = kafka_proxy(authority.issue("server", hosts=("localhost",)), authority.certificate)
    stranger = Authority("another").issue("clickstream")
    found = problem(
        kafka_checks.checks, at_port(with_client(settings, tmp_path, authority, stranger), port)
    )
    assert found.name == "credentials"
    assert "refuses the client certificate" in found.text


def test_a_missing_client_certificate_names_the_settings(
    settings: Settings, kafka_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    port = kafka_proxy(authority.issue("server", hosts=("localhost",)), authority.certificate)
    client = with_client(settings, tmp_path, authority, authority.issue("clickstream"))
    without = replace(client, kafka_ssl_certfile="", kafka_ssl_keyfile="")
    found = problem(kafka_checks.checks, at_port(without, port))
    assert found.name == "credentials"
    assert "KAFKA_SSL_CERTFILE" in found.text


def test_plaintext_to_a_tls_port_names_the_protocol_to_set(
    settings: Settings, kafka_proxy: StartProxy, authority: Authority
) -> None:
    port = kafka_proxy(authority.issue("server", hosts=("localhost",)))
    found = problem(kafka_checks.checks, at_port(settings, port))
    assert found.name == "credentials"
    assert "SASL_SSL" in found.text


# == Files ======================================================================================


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("kafka_ssl_cafile", "CA"),
        ("kafka_ssl_certfile", "certificate"),
        ("kafka_ssl_keyfile", "certificate"),
    ],
)
@pytest.mark.parametrize("content", [None, "not PEM"])
def test_each_kafka_file_that_is_missing_or_not_pem_is_named(
    setting: str,
    name: str,
    content: str | None,
    settings: Settings,
    authority: Authority,
    tmp_path: Path,
) -> None:
    client = with_client(settings, tmp_path, authority, authority.issue("clickstream"))
    path = Path(getattr(client, setting))
    path.unlink()
    if content:
        path.write_text(content)
    found = problem(kafka_checks.checks, client)
    assert found.name == name
    assert f"{path} of {setting.upper()}" in found.text


def test_a_key_that_does_not_belong_to_the_certificate_is_a_problem(
    settings: Settings, authority: Authority, tmp_path: Path
) -> None:
    pair = Pair(authority.issue("clickstream").certificate, authority.issue("other").key)
    found = problem(kafka_checks.checks, with_client(settings, tmp_path, authority, pair))
    assert "do not belong together" in found.text


def test_an_expired_client_certificate_is_a_problem(
    settings: Settings, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("clickstream", begins=-900)
    found = problem(kafka_checks.checks, with_client(settings, tmp_path, authority, pair))
    assert (found.name, "expired on" in found.text) == ("certificate", True)


@pytest.mark.parametrize(("days", "status"), [(29, CheckStatus.PROBLEM), (31, CheckStatus.OK)])
def test_a_renewal_is_due_30_days_before_the_client_certificate_expires(
    days: int, status: CheckStatus, settings: Settings, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("clickstream", days=days)
    found = findings(kafka_checks.checks, with_client(settings, tmp_path, authority, pair))
    assert found["renewal"].status is status
    assert found["name"].status is CheckStatus.OK, "the checks after it run nevertheless"


def test_a_key_that_other_users_can_read_names_the_command_that_protects_it(
    settings: Settings, authority: Authority, tmp_path: Path
) -> None:
    client = with_client(settings, tmp_path, authority, authority.issue("clickstream"))
    Path(client.kafka_ssl_keyfile).chmod(0o640)
    found = findings(kafka_checks.checks, client)["key's mode"]
    assert found.status is CheckStatus.PROBLEM
    assert "mode 0640" in found.text
    assert f"chmod 600 {client.kafka_ssl_keyfile}" in found.text


# == OpenSearch =================================================================================


@pytest.fixture
def searching(settings: Settings, search: dict[str, str]) -> Settings:
    """Settings with search turned on and with the index templates in place."""
    on = Settings.from_mapping(search)
    changed = replace(
        settings,
        **{
            name: getattr(on, name) for name in Settings.__slots__ if name.startswith("opensearch_")
        },
    )
    apply_search(changed)
    return changed


@pytest.fixture
def guarded(searching: Settings) -> Iterator[StartProxy]:
    """Starts a proxy that asks for a password in front of OpenSearch: `guarded(forbidden)`."""
    upstream = (searching.opensearch_host, searching.opensearch_port)
    with ExitStack() as proxies:
        yield lambda forbidden="": proxies.enter_context(
            password_proxy(upstream, "clickstream", "right", forbidden=forbidden)
        )


def with_password(settings: Settings, port: int, password: str = "right") -> Settings:
    return replace(
        settings,
        opensearch_host="127.0.0.1",
        opensearch_port=port,
        opensearch_user="clickstream",
        opensearch_password=password,
    )


def test_opensearch_has_no_problem_with_and_without_a_password(
    searching: Settings, guarded: StartProxy
) -> None:
    assert not problems(opensearch_checks.checks, searching)
    assert not problems(opensearch_checks.checks, with_password(searching, guarded()))


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_opensearch_password_names_its_setting(
    password: str, searching: Settings, guarded: StartProxy
) -> None:
    found = problem(opensearch_checks.checks, with_password(searching, guarded(), password))
    assert found.name == "credentials"
    assert "OPENSEARCH_PASSWORD" in found.text


@pytest.mark.parametrize("name", [*NAMES.patterns, NAMES.state])
def test_indexes_that_the_user_may_not_read_are_named(
    name: str, searching: Settings, guarded: StartProxy
) -> None:
    found = findings(
        opensearch_checks.checks, with_password(searching, guarded(name.removesuffix("*")))
    )
    assert found["rights"].status is CheckStatus.PROBLEM
    assert f"may not read the indexes {name};" in found["rights"].text
    assert found["templates"].status is CheckStatus.OK


def test_templates_that_the_user_may_not_see_are_a_problem(
    searching: Settings, guarded: StartProxy
) -> None:
    found = findings(opensearch_checks.checks, with_password(searching, guarded("_index_template")))
    assert found["templates"].status is CheckStatus.PROBLEM
    assert "administrator" in found["templates"].text


def test_missing_templates_name_the_command_that_creates_them(search: dict[str, str]) -> None:
    settings = Settings.from_mapping(search)
    found = findings(opensearch_checks.checks, settings)["templates"]
    assert (found.status, "create_schema.py" in found.text) == (CheckStatus.PROBLEM, True)
    apply_search(settings)
    assert not problems(opensearch_checks.checks, settings)


def test_an_opensearch_host_that_cannot_be_resolved_names_its_setting(searching: Settings) -> None:
    found = problem(opensearch_checks.checks, replace(searching, opensearch_host="nowhere.invalid"))
    assert (found.name, "OPENSEARCH_HOST" in found.text) == ("name", True)


def test_opensearch_without_tls_is_a_problem_if_tls_is_set(searching: Settings) -> None:
    found = problem(opensearch_checks.checks, replace(searching, opensearch_use_ssl=True))
    assert (found.name, "does not answer in TLS" in found.text) == ("TLS", True)


def test_another_kind_of_server_at_the_opensearch_port_is_recognised(searching: Settings) -> None:
    other = replace(
        searching, opensearch_host=searching.postgres_host, opensearch_port=searching.postgres_port
    )
    assert problem(opensearch_checks.checks, other).name == "credentials"


@pytest.mark.parametrize("case", ["good", *SERVER_CASES])
def test_an_opensearch_certificate_is_accepted_or_refused_with_the_reason(
    case: str, searching: Settings, authority: Authority, tmp_path: Path
) -> None:
    good = authority.issue("server", hosts=("localhost",))
    pair, words = {"good": (good, ""), **server_certificates(authority)}[case]
    (tmp_path / "root.pem").write_text(authority.certificate)
    upstream = (searching.opensearch_host, searching.opensearch_port)
    with tls_proxy(tmp_path, upstream, pair) as port:
        found = problems(
            opensearch_checks.checks,
            replace(
                searching,
                opensearch_host="localhost",
                opensearch_port=port,
                opensearch_use_ssl=True,
                opensearch_cafile=str(tmp_path / "root.pem"),
            ),
        )
    assert [finding.name for finding in found] == ([] if case == "good" else ["TLS"])
    assert all(words in finding.text for finding in found)


def test_a_missing_opensearch_ca_file_is_named(searching: Settings) -> None:
    changed = replace(searching, opensearch_use_ssl=True, opensearch_cafile="none.pem")
    assert "none.pem of OPENSEARCH_CAFILE" in problem(opensearch_checks.checks, changed).text
