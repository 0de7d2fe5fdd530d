"""Fixtures of the service tests: servers, a topic and a database of each test, scripts.

The tests start a local broker and PostgreSQL for the whole run. TEST_KAFKA_BOOTSTRAP_SERVERS,
TEST_POSTGRES_HOST and TEST_OPENSEARCH_HOST each name a server to use instead; its other settings
are given with the same prefix (TEST_POSTGRES_PASSWORD; the user needs CREATEDB). `.env` is never
read. Search servers are in search_servers.py: a local one for each worker, and one real OpenSearch
for the whole run if there is a Java for it.
"""

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaAdminClient
from opensearchpy import OpenSearch

from clickstream.clients.kafka import connection_options
from clickstream.clients.opensearch import connect as connect_search
from clickstream.clients.postgres import Connection, connect
from clickstream.local import search_server as local
from clickstream.local.temporary import temporary_stack
from clickstream.settings import Settings
from clickstream.storage import schema
from tests.services.batches import DEFAULT_RULE, Batches
from tests.services.databases import (
    CLOSE_DATABASE,
    COPY_DATABASE,
    CREATE_DATABASE,
    DISCONNECT_ALL,
    DROP_DATABASE,
    Query,
)
from tests.services.own_server import OwnServer
from tests.services.scripts import (
    SETTING_NAMES,
    RunScript,
    Script,
    StartScript,
    command,
    plain_environment,
)
from tests.services.search_servers import (
    GivenSearch,
    LocalSearch,
    RealSearch,
    SearchServer,
    missing,
    shared_real_search,
)
from tests.services.server_scripts import INSTALL_SECONDS
from tests.services.waiting import DEADLINE_MILLISECONDS, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GIVEN_BY = {
    "kafka": "TEST_KAFKA_BOOTSTRAP_SERVERS",
    "postgres": "TEST_POSTGRES_HOST",
    "opensearch": "TEST_OPENSEARCH_HOST",
}
# Settings of a given server that are not given.
GIVEN_DEFAULTS = {"POSTGRES_DATABASE": "postgres", "OPENSEARCH_USE_SSL": "false"}
# The temporary PostgreSQL is not needed after a crash of the machine, so it need not wait for the
# disk, which each test makes it do when its database is dropped.
WRITE_WITHOUT_WAITING = (
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "SELECT pg_reload_conf()",
)
# A script that runs longer has hung; a slow machine needs a part of this.
SCRIPT_SECONDS = 240
# If set: tests of search run on the local server and on the real one.
BOTH_SEARCH_SERVERS = "TEST_BOTH_SEARCH_SERVERS"


HAS_REAL_SEARCH = not missing()

# A shell starts background jobs with SIGINT ignored, and the scripts under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the search servers that a test runs on, given as names of fixtures."""
    is_local = any(metafunc.definition.iter_markers("local_search"))
    servers = ["local_search"] if is_local or not HAS_REAL_SEARCH else ["real_search"]
    if BOTH_SEARCH_SERVERS in os.environ:
        servers = ["local_search", "real_search"]
    given = ["given_search"] if GIVEN_BY["opensearch"] in os.environ else servers
    for fixture, names in (("search", given), ("own_search", servers)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names, indirect=True)


# == Servers of the whole run ===================================================================


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this run that all workers share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def run_resources(pytestconfig: pytest.Config) -> ExitStack:
    """Resources that are released after the last test of a worker.

    Leaving the shared servers waits until all workers have left. In the teardown of a fixture this
    would count as time of the last test, which has a limit.
    """
    resources = ExitStack()
    pytestconfig.add_cleanup(resources.close)
    return resources


@pytest.fixture(scope="session")
def servers(shared_folder: Path, run_resources: ExitStack) -> dict[str, str]:
    """The settings of the servers of this run; of a search server only if one is given.

    Tests that need a search server ask for the fixture `search`.
    """
    wanted = [name for name in ("kafka", "postgres") if GIVEN_BY[name] not in os.environ]
    folder = shared_folder / "servers"
    started = run_resources.enter_context(temporary_stack(folder, wanted)) if wanted else {}
    return {**GIVEN_DEFAULTS, **started, **_given(os.environ)}


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    names = {f"TEST_{name}": name for name in SETTING_NAMES}
    return {names[name]: value for name, value in environment.items() if name in names}


@pytest.fixture(scope="session")
def local_search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSearch]:
    """The local search server of this worker."""
    if not local.is_available():
        pytest.skip("no OpenSearch-compatible server for this platform; give TEST_OPENSEARCH_HOST")
    folder = tmp_path_factory.mktemp("search") / "servers"
    with temporary_stack(folder, ["opensearch"]):
        yield LocalSearch(folder)


@pytest.fixture(scope="session")
def real_search(
    servers: dict[str, str],  # noqa: ARG001
    shared_folder: Path,
    run_resources: ExitStack,
    testrun_uid: str,
) -> RealSearch:
    """The real OpenSearch of this run; skips with the reason if this machine cannot run one.

    Every worker enters it after `servers`. Leaving either of them waits until all other workers
    have left it, so two workers that left them in different orders would wait for each other.
    """
    if reason := missing():
        pytest.skip(reason)
    # Started by root it runs as nobody, who may not enter pytest's folders.
    data = Path(gettempdir()) / f"clickstream-opensearch-{testrun_uid}"
    server = run_resources.enter_context(shared_real_search(shared_folder, data))
    installed = server.ask("install", INSTALL_SECONDS)
    if installed.returncode:
        refuse = pytest.fail if "CI" in os.environ else pytest.skip
        refuse(f"cannot download OpenSearch: {installed.stderr.strip()[:500]}")
    return server


@pytest.fixture(scope="session")
def given_search(shared_folder: Path, servers: dict[str, str]) -> GivenSearch:
    """The search server by TEST_OPENSEARCH_HOST."""
    names = (name for name in servers if name.startswith("OPENSEARCH_"))
    return GivenSearch(shared_folder, {name: servers[name] for name in names})


@pytest.fixture(scope="session")
def admin(servers: dict[str, str]) -> Iterator[KafkaAdminClient]:
    """Kafka's admin client."""
    options = connection_options(Settings.from_mapping(servers))
    with closing(KafkaAdminClient(bootstrap_timeout_ms=60_000, **options)) as client:
        yield client


@pytest.fixture(scope="session")
def maintenance(servers: dict[str, str]) -> Iterator[Callable[[str], None]]:
    """Runs a statement outside of the tests' databases, such as CREATE DATABASE."""
    with closing(connect(Settings.from_mapping(servers), application="tests")) as connection:
        connection.autocommit = True

        def run(statement: str) -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement)

        if GIVEN_BY["postgres"] not in os.environ:
            for statement in WRITE_WITHOUT_WAITING:
                run(statement)
        yield run


@pytest.fixture(scope="session")
def template(servers: dict[str, str], maintenance: Callable[[str], None]) -> Iterator[str]:
    """The name of a database with the schema, which the tests' databases are copies of."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    maintenance(CREATE_DATABASE.format(name=name))
    schema.apply_tables(Settings.from_mapping({**servers, "POSTGRES_DATABASE": name}))
    maintenance(CLOSE_DATABASE.format(name=name))
    maintenance(DISCONNECT_ALL.format(name=name))
    yield name
    maintenance(DROP_DATABASE.format(name=name))


# == Topic, database and settings of one test ===================================================


@pytest.fixture
def create_topic(admin: KafkaAdminClient) -> Iterator[Callable[[int], str]]:
    """Creates a topic with this many partitions and returns its name; deletes it at the end."""
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
    """The number of partitions of `topic`: 3, or given by an indirect parameter.

    `@pytest.mark.parametrize("partitions", [1], indirect=True)`
    """
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
    servers: dict[str, str], topic: str, partitions: int, database: str, tmp_path: Path
) -> dict[str, str]:
    """The settings of the scripts: topic, database and group of this test; search is off."""
    (tmp_path / ".env").touch()  # else scripts in this folder would read the project's
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
    """`environment` as a Settings object, for code that runs in the test's process."""
    return Settings.from_mapping(environment)


@pytest.fixture
def search(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings that turn search on, of a real server if there can be one, else of a local one.

    The marker `local_search` chooses the local one. A server of TEST_OPENSEARCH_HOST replaces both.
    The server is empty, and no other test uses it until this one ends: all tests use the same index
    names. A test uses this fixture or `own_search`, not both; it is skipped if there is no such
    server.
    """
    with request.getfixturevalue(request.param).fresh() as server:
        yield server.environment


@pytest.fixture
def searching(search: dict[str, str], environment: dict[str, str]) -> Settings:
    """`settings` with search on."""
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
    """A connection to the test's database whose commits do not wait for the disk."""
    with closing(connect(settings, application="test")) as opened:
        with opened, opened.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        yield opened


@pytest.fixture
def batches(transactions: Connection) -> Batches:
    """Store batches of events by the default session rule, from empty tables on."""
    return Batches(transactions, DEFAULT_RULE)


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

    The name "clickstream" runs `python -m clickstream`; stdin is text; settings override those of
    `environment`. Returns the completed process, whatever its exit status, with stdout and stderr
    as text.
    """

    def run(
        name: str, *arguments: str, stdin: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(name, *arguments),
            env=plain_environment({**environment, **settings}),
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def start_script(
    request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path
) -> Iterator[StartScript]:
    """Starts a script in the background, see `scripts.Script`; kills it when the test ends."""
    # The search server is requested first, so that the scripts are killed before it is released:
    # none may write to the server while the next test uses it.
    for name in {"search", "own_search"} & set(request.fixturenames):
        request.getfixturevalue(name)
    started: list[Script] = []

    def start(name: str, *arguments: str, **settings: str) -> Script:
        script = Script(command(name, *arguments), {**environment, **settings}, tmp_path)
        started.append(script)
        return script

    yield start
    for script in started:
        script.kill()


# == Servers that a test may stop and kill ======================================================


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[OwnServer]:
    """A PostgreSQL of this test: `.stop()`, `.start()`, `.kill()`, `.environment`.

    Its database has the schema. Use it as `run_script(..., **own_postgres.environment)`.
    """
    folder = tmp_path / "own-postgres"
    with temporary_stack(folder, ["postgres"]) as settings:
        schema.apply_tables(Settings.from_mapping(settings))
        yield OwnServer(folder, "postgres")


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnServer]:
    """A broker of this test. Its log is in memory: after a restart it is empty."""
    folder = tmp_path / "own-broker"
    with temporary_stack(folder, ["kafka"]):
        yield OwnServer(folder, "kafka")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, which the tests of a file share; they are skipped if there is none in the PATH."""
    from playwright.sync_api import sync_playwright  # slow to import, and few tests need it

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium in the PATH")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=found,
            timeout=DEADLINE_MILLISECONDS,
            ignore_default_args=["--disable-back-forward-cache"],  # visitors' browsers have it
        )


@pytest.fixture
def own_search(request: pytest.FixtureRequest) -> Iterator[SearchServer]:
    """A search server of this test: `.stop()`, `.start()`, `.kill()`, `.wipe()`, `.environment`.

    A real one if there can be one, else a local one; empty at first. The local server loses its
    data when it stops, the real one only when it is wiped. A test uses this fixture or `search`.
    """
    with request.getfixturevalue(request.param).fresh() as server:
        yield server
