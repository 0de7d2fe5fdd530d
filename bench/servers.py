"""The servers of the benchmarks: a real Kafka if one can be started, and a PostgreSQL.

A server that TEST_KAFKA_*, TEST_POSTGRES_* or TEST_OPENSEARCH_* name is used instead of a new one.
"""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clickstream.admin import setup
from clickstream.admin.search_setup import apply_search
from clickstream.clients.postgres import connect
from clickstream.errors import UserError
from clickstream.local.ports import HOST, free_port
from clickstream.local.temporary import temporary_stack
from clickstream.settings import Settings, setting_fields
from clickstream.sources import SERVERS
from clickstream.storage.schema import apply_tables

GIVEN_BY = {
    "kafka": "TEST_KAFKA_BOOTSTRAP_SERVERS",
    "postgres": "TEST_POSTGRES_HOST",
    "opensearch": "TEST_OPENSEARCH_HOST",
}
KAFKA_SCRIPT = Path(__file__).parents[1] / "tests" / "servers" / "kafka.sh"
# Deletes the Kafka when its input ends, also because SIGKILL has ended the benchmark.
WATCHDOG = ("sh", "-c", 'cat >/dev/null; exec "$0" wipe >/dev/null', str(KAFKA_SCRIPT))


@contextmanager
def servers(names: Sequence[str]) -> Iterator[Settings]:
    """Yield settings for servers with a new topic, consumer group and database.

    names: the servers that the benchmark needs, the keys of GIVEN_BY.
    """
    with running(names) as settings, database(settings) as own:
        apply_tables(own)
        if own.opensearch_host:
            apply_search(own)
        yield own


@contextmanager
def running(names: Sequence[str]) -> Iterator[Settings]:
    """Yield settings for running servers; with a Kafka, a new topic.

    The database is the one that exists in every PostgreSQL. names: see `servers`. From then on
    SIGTERM ends the benchmark as Ctrl-C does, so that it leaves no server behind.
    """
    signal.signal(signal.SIGTERM, _interrupt_once)
    given = {
        name.removeprefix("TEST_"): value
        for name, value in os.environ.items()
        if name.startswith("TEST_")
    }
    missing = [name for name in names if GIVEN_BY[name] not in os.environ]
    with ExitStack() as resources:
        folder = Path(resources.enter_context(TemporaryDirectory())) / "servers"
        local: dict[str, str] = {}
        if "kafka" in missing and _can_run_kafka():
            missing.remove("kafka")
            local["KAFKA_BOOTSTRAP_SERVERS"] = resources.enter_context(_real_kafka())
        if missing:
            local |= resources.enter_context(temporary_stack(folder, missing))
        settings = Settings.from_mapping({"OPENSEARCH_HOST": "", **local, **given})
        settings = replace(settings, postgres_database="postgres")
        yield with_new_topic(settings) if "kafka" in names else settings


def _interrupt_once(*_: object) -> None:
    """Raise KeyboardInterrupt. Another SIGTERM must not interrupt the removal of the servers."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def with_new_topic(settings: Settings) -> Settings:
    """Create a topic, and return the settings for it. It is deleted with the servers alone."""
    settings = replace(settings, kafka_topic=_new_name())
    setup.apply_topic(settings)
    return settings


@contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """Yield settings with a new, empty database and a consumer group of the same name.

    The database is deleted afterwards.
    """
    name = _new_name()
    with closing(connect(settings, application="bench")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
            try:
                yield replace(settings, postgres_database=name, kafka_group_id=name)
            finally:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def environment(settings: Settings) -> dict[str, str]:
    """Return environment variables for a script: the servers of the settings, and defaults."""
    names = {name for server in SERVERS for name in server.names}
    names |= {"KAFKA_TOPIC", "KAFKA_GROUP_ID"}
    ours = {item.name.upper() for item in setting_fields()}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    values = {name: getattr(settings, name.lower()) for name in sorted(names)}
    return kept | {name: str(value) for name, value in values.items() if value != ""}


def has_transactions() -> bool:
    """Return True if the broker that the benchmarks use knows transactions."""
    return GIVEN_BY["kafka"] in os.environ or _can_run_kafka()


def kafka_title() -> str:
    """Return the name of the broker that the benchmarks use on this machine."""
    if GIVEN_BY["kafka"] in os.environ:
        return "a given Kafka"
    return "Apache Kafka 4.4" if _can_run_kafka() else "the local broker"


def _new_name() -> str:
    return f"bench-{uuid.uuid4().hex[:8]}"


def _can_run_kafka() -> bool:
    return subprocess.run([KAFKA_SCRIPT, "check"], stdout=subprocess.DEVNULL).returncode == 0


@contextmanager
def _real_kafka() -> Iterator[str]:
    """Yield the address of a new Kafka, which is deleted afterwards."""
    port = free_port()
    variables = {**os.environ, "KAFKA_PORT": str(port), "KAFKA_NAME": _new_name()}
    variables["KAFKA_CONTROLLER_PORT"] = str(free_port())
    start = (KAFKA_SCRIPT, "start")
    watchdog = subprocess.Popen(
        WATCHDOG,
        env=variables,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C must not reach the watchdog
    )
    try:
        if subprocess.run(start, env=variables, stdout=subprocess.DEVNULL).returncode:
            raise UserError("tests/servers/kafka.sh start failed")
        yield f"{HOST}:{port}"
    finally:
        watchdog.communicate()
