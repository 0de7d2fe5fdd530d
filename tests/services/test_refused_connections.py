"""Certificates and passwords that a server or the consumer refuses: one sentence with the remedy.

The doctor's tests have more cases; here the consumer says the same. A consumer of each case runs at
the same time, because the Kafka client tries for 10 s.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from clickstream.clients.kafka_handshake import endpoints
from clickstream.doctor import kafka_checks
from clickstream.doctor.checks import CheckStatus, run_checks
from clickstream.local.ports import free_port
from clickstream.settings import Settings
from tests.pki import NOW, Authority, Pair
from tests.services import search_oracle
from tests.services.http_proxy import password_proxy
from tests.services.records import random_events, send_by_visitor
from tests.services.scripts import RunScript, StartScript
from tests.services.tls_proxy import tls_proxy

HERE = ("localhost",)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The certification authority of server and client."""
    return Authority("the operator's CA")


@dataclass(frozen=True, slots=True)
class Files:
    """Writes certificates into a folder."""

    folder: Path

    def write(self, name: str, text: str) -> str:
        """Write a file that only its owner can read, and return its path."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def client(self, name: str, pair: Pair) -> dict[str, str]:
        """Write a client certificate and its key, and return their settings."""
        return {
            "KAFKA_SSL_CERTFILE": self.write(f"{name}.cert", pair.certificate),
            "KAFKA_SSL_KEYFILE": self.write(f"{name}.key", pair.key),
        }


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# == Kafka ======================================================================================


@pytest.fixture
def kafka_cases(
    environment: dict[str, str], authority: Authority, files: Files, tmp_path: Path
) -> Iterator[dict[str, dict[str, str]]]:
    """The settings of each case by words of its sentence; the broker wants a client certificate."""
    (broker,) = endpoints(environment["KAFKA_BOOTSTRAP_SERVERS"])
    with ExitStack() as proxies:

        def listen(pair: Pair) -> str:
            upstream = (broker.host, broker.port)
            proxy = tls_proxy(tmp_path, upstream, pair, client_ca=authority.certificate)
            return f"localhost:{proxies.enter_context(proxy)}"

        right = {
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_BOOTSTRAP_SERVERS": listen(authority.issue("server", hosts=HERE)),
            "KAFKA_SSL_CAFILE": files.write("ca.pem", authority.certificate),
            **files.client("right", authority.issue("clickstream")),
        }
        expired = listen(authority.issue("server", hosts=HERE, begins=-900))
        yield {
            "is not signed by a CA of": {
                **right,
                "KAFKA_SSL_CAFILE": files.write("other.pem", Authority("other").certificate),
            },
            "KAFKA_SSL_CAFILE cannot be read": {**right, "KAFKA_SSL_CAFILE": "none.pem"},
            "KAFKA_SSL_KEYFILE cannot be read": {**right, "KAFKA_SSL_KEYFILE": str(tmp_path)},
            "has expired; its operator": {**right, "KAFKA_BOOTSTRAP_SERVERS": expired},
            "expired on": {
                **right, **files.client("old", authority.issue("clickstream", begins=-900)),
            },
            "refuses the client certificate": {
                **right, **files.client("stranger", Authority("other").issue("clickstream")),
            },
            "may require a client certificate": {
                **right, "KAFKA_SSL_CERTFILE": "", "KAFKA_SSL_KEYFILE": "",
            },
        }  # fmt: skip


def problem_of_kafka(environment: Mapping[str, str]) -> str:
    """Return the text of the first problem that the doctor finds."""
    found = run_checks(kafka_checks.checks(Settings.from_mapping(environment), NOW))
    return next(each.text for each in found if each.status is CheckStatus.PROBLEM)


def test_the_consumer_says_of_kafka_what_the_doctor_says(
    environment: dict[str, str],
    kafka_cases: dict[str, dict[str, str]],
    start_script: StartScript,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    consumers = {
        words: start_script("consumer.py", **changes) for words, changes in kafka_cases.items()
    }
    for words, changes in kafka_cases.items():
        sentence = problem_of_kafka({**environment, **changes})
        assert words in sentence
        assert consumers[words].wait() == 1
        assert consumers[words].output.splitlines()[-1] == f"error: {sentence}"
        assert "Traceback" not in consumers[words].output


def test_the_other_scripts_name_a_wrong_ca_of_kafka(
    kafka_cases: dict[str, dict[str, str]], start_script: StartScript
) -> None:
    words = "is not signed by a CA of"
    commands = (
        ["producer.py", "--events", "1"],
        ["create_schema.py"],
        ["collector.py", "--port", str(free_port())],
    )
    for script in [start_script(*each, **kafka_cases[words]) for each in commands]:
        assert script.wait() == 1
        assert words in script.output
        assert "Traceback" not in script.output


def test_a_key_that_other_users_can_read_is_a_warning_of_the_consumer(
    kafka_cases: dict[str, dict[str, str]], start_script: StartScript
) -> None:
    (right, *_) = kafka_cases.values()
    Path(right["KAFKA_SSL_KEYFILE"]).chmod(0o640)
    consumer = start_script("consumer.py", **right)
    consumer.wait_for_output(f"run: chmod 600 {right['KAFKA_SSL_KEYFILE']}\n")
    assert "WARNING" in consumer.output


# == PostgreSQL =================================================================================


def test_the_consumer_names_what_is_wrong_with_postgresql(
    settings: Settings,
    authority: Authority,
    files: Files,
    tmp_path: Path,
    start_script: StartScript,
) -> None:
    upstream = (settings.postgres_host, settings.postgres_port)
    pair = authority.issue("server", hosts=HERE)
    right = {
        "POSTGRES_HOST": "localhost",
        "POSTGRES_SSLMODE": "verify-full",
        "POSTGRES_SSLROOTCERT": files.write("root.pem", authority.certificate),
    }
    wrong = files.write("other.pem", Authority("other").certificate)
    cases = {
        "certificate verify failed": {"POSTGRES_SSLROOTCERT": wrong},
        'root certificate file "none.pem" does not exist': {"POSTGRES_SSLROOTCERT": "none.pem"},
        "does not match host name": {"POSTGRES_HOST": "127.0.0.1"},
        "refuses the login": {"POSTGRES_PASSWORD": "wrong"},
    }
    with tls_proxy(tmp_path, upstream, pair, postgres=True) as port:
        right["POSTGRES_PORT"] = str(port)
        consumers = {
            words: start_script("consumer.py", **{**right, **changes, "KAFKA_GROUP_ID": words})
            for words, changes in cases.items()
        }
        for words, consumer in consumers.items():
            assert consumer.wait() == 1
            assert words in consumer.output
            assert "check POSTGRES_" in consumer.output
            assert "Traceback" not in consumer.output


# == OpenSearch =================================================================================


@pytest.mark.local_search
def test_the_index_is_built_behind_tls_and_a_password_and_wrong_ones_are_named(
    environment: dict[str, str],
    search: dict[str, str],
    authority: Authority,
    files: Files,
    tmp_path: Path,
    run_script: RunScript,
    start_script: StartScript,
) -> None:
    upstream = (search["OPENSEARCH_HOST"], int(search["OPENSEARCH_PORT"]))
    pair = authority.issue("server", hosts=HERE)
    wrong = files.write("other.pem", Authority("other").certificate)
    cases = {
        "check OPENSEARCH_USER and OPENSEARCH_PASSWORD": {"OPENSEARCH_PASSWORD": "wrong"},
        "check OPENSEARCH_USE_SSL and OPENSEARCH_CAFILE": {"OPENSEARCH_CAFILE": wrong},
        "No such file or directory); check": {"OPENSEARCH_CAFILE": "none.pem"},
    }
    with (
        password_proxy(upstream, "clickstream", "right") as plain,
        tls_proxy(tmp_path, ("127.0.0.1", plain), pair) as port,
    ):
        right = {
            "OPENSEARCH_HOST": "localhost",
            "OPENSEARCH_PORT": str(port),
            "OPENSEARCH_USE_SSL": "true",
            "OPENSEARCH_CAFILE": files.write("ca.pem", authority.certificate),
            "OPENSEARCH_USER": "clickstream",
            "OPENSEARCH_PASSWORD": "right",
        }
        for words, changes in cases.items():
            consumer = start_script("consumer.py", **{**right, **changes})
            consumer.wait_for_output(words)
            assert "Traceback" not in consumer.output
            consumer.kill()
        send_by_visitor(environment, random_events(200, visitors=10, seed=1))
        drained = run_script("consumer.py", "--drain", **right)
        assert drained.returncode == 0, drained.stderr
    assert search_oracle.check({**environment, **search}) > 200
