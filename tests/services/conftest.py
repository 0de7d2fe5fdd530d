"""Servers for the service tests: an own local stack for the whole run, or others by TEST_*.

TEST_KAFKA_BOOTSTRAP_SERVERS, TEST_POSTGRES_HOST and TEST_OPENSEARCH_HOST each replace one server;
TEST_ before any other setting of that server is passed on too (TEST_POSTGRES_PASSWORD; the user
needs CREATEDB). `.env` is never read.
"""

import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import pytest
from kafka import KafkaAdminClient
from opensearchpy import OpenSearch
from support import SETTING_NAMES, OwnServer, Script, command, eventually, plain_environment

from clickstream import schema
from clickstream.local.stack import NAMES
from clickstream.local.temporary import temporary_stack
from clickstream.servers.kafka import connection_options
from clickstream.servers.opensearch import connect as connect_search
from clickstream.servers.postgres import Connection, connect
from clickstream.settings import Settings

GIVEN_BY = {
    "kafka": "TEST_KAFKA_BOOTSTRAP_SERVERS",
    "postgres": "TEST_POSTGRES_HOST",
    "opensearch": "TEST_OPENSEARCH_HOST",
}
# Where a given server's other settings are not given: those of a server for tests.
GIVEN_DEFAULTS = {"POSTGRES_DATABASE": "postgres", "OPENSEARCH_USE_SSL": "false"}

CREATE_DATABASE = 'CREATE DATABASE "{name}"'
COPY_DATABASE = 'CREATE DATABASE "{name}" TEMPLATE "{template}"'
# Nobody may be connected to a database that is copied, as TimescaleDB's workers would be.
CLOSE_DATABASE = 'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'
DISCONNECT_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
DROP_DATABASE = 'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'


class Query(Protocol):
    def __call__(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]: ...


class RunScript(Protocol):
    def __call__(
        self, name: str, *arguments: str, seconds: float = 60, stdin: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]: ...


class StartScript(Protocol):
    def __call__(self, name: str, *arguments: str, **settings: str) -> Script: ...


# A run in the background of a shell ignores Ctrl-C, and so would every script that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


# == Servers, once for the whole run ============================================================


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings that lead to the servers of this run."""
    missing = [name for name in NAMES if GIVEN_BY[name] not in os.environ]
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with ExitStack() as resources:
        local = (
            resources.enter_context(temporary_stack(shared / "servers", missing)) if missing else {}
        )
        yield {**GIVEN_DEFAULTS, **local, **_given(os.environ)}


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    names = {f"TEST_{name}": name for name in SETTING_NAMES}
    return {names[name]: value for name, value in environment.items() if name in names}


@pytest.fixture(scope="session")
def admin(servers: dict[str, str]) -> Iterator[KafkaAdminClient]:
    """Kafka's admin client."""
    options = connection_options(Settings.from_mapping(servers))
    with closing(KafkaAdminClient(bootstrap_timeout_ms=10_000, **options)) as client:
        yield client


@pytest.fixture(scope="session")
def maintenance(servers: dict[str, str]) -> Iterator[Callable[[str], None]]:
    """Runs a statement such as CREATE DATABASE outside of any test's database."""
    with closing(connect(Settings.from_mapping(servers), application="tests")) as connection:
        connection.autocommit = True

        def run(statement: str) -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement)

        yield run


@pytest.fixture(scope="session")
def template(servers: dict[str, str], maintenance: Callable[[str], None]) -> Iterator[str]:
    """The name of a database with the schema, to be copied."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    maintenance(CREATE_DATABASE.format(name=name))
    schema.apply_tables(Settings.from_mapping({**servers, "POSTGRES_DATABASE": name}))
    maintenance(CLOSE_DATABASE.format(name=name))
    maintenance(DISCONNECT_ALL.format(name=name))
    yield name
    maintenance(DROP_DATABASE.format(name=name))


# == What each test has for itself ==============================================================


@pytest.fixture
def create_topic(admin: KafkaAdminClient) -> Iterator[Callable[[int], str]]:
    """Creates a fresh topic with so many partitions and returns its name; deleted at the end."""
    names: list[str] = []

    def create(partitions: int) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        admin.create_topics({name: {"num_partitions": partitions}})
        names.append(name)
        eventually(lambda: _has_partitions(admin, name, partitions))
        return name

    yield create
    for name in names:
        admin.delete_topics([name])


def _has_partitions(admin: KafkaAdminClient, topic: str, partitions: int) -> bool:
    (found,) = admin.describe_topics([topic])
    leaders = [partition["leader_id"] for partition in found["partitions"]]
    return len(leaders) == partitions and min(leaders) >= 0


@pytest.fixture
def partitions(request: pytest.FixtureRequest) -> int:
    """Of `topic`: 3, or as `@pytest.mark.parametrize("partitions", [1], indirect=True)` says."""
    return int(getattr(request, "param", 3))


@pytest.fixture
def topic(create_topic: Callable[[int], str], partitions: int) -> str:
    """The name of a fresh topic."""
    return create_topic(partitions)


@pytest.fixture
def database(template: str, maintenance: Callable[[str], None]) -> Iterator[str]:
    """The name of a fresh database with the schema."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    maintenance(COPY_DATABASE.format(name=name, template=template))
    yield name
    maintenance(DROP_DATABASE.format(name=name))


@pytest.fixture
def environment(
    servers: dict[str, str], topic: str, partitions: int, database: str
) -> dict[str, str]:
    """The settings for the scripts: own topic, database and consumer group; search is off."""
    return {
        **servers,
        "KAFKA_TOPIC": topic,
        "KAFKA_TOPIC_PARTITIONS": str(partitions),
        "KAFKA_GROUP_ID": f"{topic}-group",
        "POSTGRES_DATABASE": database,
        "OPENSEARCH_HOST": "",
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """The same, for what runs in the test's own process."""
    return Settings.from_mapping(environment)


@pytest.fixture
def search(servers: dict[str, str]) -> dict[str, str]:
    """The settings that turn search on; skips where this run has no search server."""
    if not servers["OPENSEARCH_HOST"]:
        pytest.skip("no OpenSearch-compatible server for this platform; give TEST_OPENSEARCH_HOST")
    return {name: value for name, value in servers.items() if name.startswith("OPENSEARCH_")}


@pytest.fixture
def searching(search: dict[str, str], environment: dict[str, str]) -> Settings:
    """The settings of the test's database and of the search server."""
    return Settings.from_mapping({**environment, **search})


@pytest.fixture
def client(searching: Settings) -> Iterator[OpenSearch]:
    with closing(connect_search(searching)) as opened:
        yield opened


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    """A connection to the test's database, in autocommit."""
    with closing(connect(settings, application="test")) as opened:
        opened.autocommit = True
        yield opened


@pytest.fixture
def transactions(settings: Settings) -> Iterator[Connection]:
    """A connection to the test's database whose commits need not outlive a crash."""
    with closing(connect(settings, application="test")) as opened:
        with opened, opened.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        yield opened


@pytest.fixture
def query(connection: Connection) -> Query:
    """Runs a statement on the test's database and returns its rows: `query(sql, parameters)`."""

    def run(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    return run


# == Scripts ====================================================================================


@pytest.fixture
def run_script(environment: dict[str, str], tmp_path: Path) -> RunScript:
    """Runs a script to its end: `run_script("summary.py", "--json", SESSION_TIMEOUT_SECONDS="60")`.

    "clickstream" as its name is `python -m clickstream`. stdin: text. settings beat `environment`.
    Returns the completed process with its stdout and stderr as text, whatever its exit status.
    """

    def run(
        name: str, *arguments: str, seconds: float = 60, stdin: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(name, *arguments),
            env=plain_environment({**environment, **settings}),
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    return run


@pytest.fixture
def start_script(environment: dict[str, str], tmp_path: Path) -> Iterator[StartScript]:
    """Starts a script in the background, see `support.Script`; it is gone when the test ends."""
    started: list[Script] = []

    def start(name: str, *arguments: str, **settings: str) -> Script:
        script = Script(command(name, *arguments), {**environment, **settings}, tmp_path)
        started.append(script)
        return script

    yield start
    for script in started:
        script.kill()


# == Servers of one test, to be stopped and killed ==============================================


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[OwnServer]:
    """A PostgreSQL of the test alone: `.stop()`, `.start()`, `.kill()`, `.environment`.

    Its database has the schema. Used as `run_script(..., **own_postgres.environment)`.
    """
    folder = tmp_path / "own-postgres"
    with temporary_stack(folder, ["postgres"]) as settings:
        schema.apply_tables(Settings.from_mapping(settings))
        yield OwnServer(folder, "postgres")


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnServer]:
    """A broker of the test alone; it keeps its log in memory, so a restart is a fresh log."""
    folder = tmp_path / "own-broker"
    with temporary_stack(folder, ["kafka"]):
        yield OwnServer(folder, "kafka")
