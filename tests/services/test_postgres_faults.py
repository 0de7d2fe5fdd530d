"""PostgreSQL fails under load: the log names it, and every record is stored once afterwards.

test_failures.py has outages of the whole server, test_connection_faults.py those of the network.
"""

import os
import pwd
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from clickstream.clients.postgres import connect
from clickstream.local.postgres_server import UNPRIVILEGED_USER
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.databases import DISCONNECT_CONSUMERS, Query, query_of
from tests.services.fault_proxy import fault_proxy
from tests.services.locks import LOCK_SESSIONS, holding, wait_until_blocked
from tests.services.own_server import OwnServer
from tests.services.records import random_events, send, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, Script, StartScript
from tests.services.search_oracle import wait_until_equal
from tests.services.standby import Standby
from tests.services.waiting import eventually, pause

SMALL_BATCHES = {"CONSUMER_BATCH_EVENTS": "100", "CONSUMER_BATCH_MS": "50"}
COUNT_EVENTS = "SELECT count(*) FROM clickstream_events"
REPORTS = r"WARNING PostgreSQL at \S+ .*, reports an error \(.*{}.*\); trying again in [\d.]+ s"


def check(environment: dict[str, str], consumer: Script, records: int) -> None:
    """Check that all records are stored exactly, by the same consumer, and none was rejected."""
    assert consumer.is_running
    assert "Traceback" not in consumer.output
    counters = oracle.check(environment)
    assert (counters["records"], counters["rejected"]) == (records, 0)


def test_a_consumer_whose_connections_are_terminated_at_random_is_exact(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    chance = Random(1)
    consumer = start_script("consumer.py", **SMALL_BATCHES)
    load = ("--events", "4000", "--rate", "500", "--seed", "1")
    traffic = start_script("producer.py", *load)
    eventually(lambda: query(COUNT_EVENTS) > [(0,)])
    terminated = 0
    while traffic.is_running or terminated < 3:
        ((number,),) = query(DISCONNECT_CONSUMERS)
        terminated += number
        pause(chance.uniform(0.2, 1.5))
    wait_until_read(query, 4_000)
    assert re.search(r"WARNING .*PostgreSQL at .*; trying again in", consumer.output)
    check(environment, consumer, 4_000)


# == Errors of statements =======================================================================

# Both tables, because the events are inserted by code that looks for events that cannot be stored.
FAIL_AT_RANDOM = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE codes text[] := '{40001, 40P01, 53100, 53200, 55P03, 57014, 58030}';
    BEGIN
        IF random() < 0.3 THEN
            RAISE EXCEPTION 'injected' USING ERRCODE = codes[ceil(random() * 7)::int];
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER fail AFTER INSERT ON clickstream_events EXECUTE FUNCTION fail();
    CREATE TRIGGER fail AFTER INSERT OR UPDATE ON session_metrics EXECUTE FUNCTION fail();
"""
STOP_FAILING = "DROP FUNCTION fail CASCADE"


def test_statements_that_fail_at_random_are_an_outage_and_reject_nothing(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Serialization failures, deadlocks, a full disk, no memory, timeouts, input/output errors."""
    query(FAIL_AT_RANDOM)
    consumer = start_script("consumer.py", **SMALL_BATCHES)
    send_by_visitor(environment, random_events(1_000, visitors=30, seed=1))
    eventually(lambda: len(re.findall(REPORTS.format("injected"), consumer.output)) >= 4)
    query(STOP_FAILING)
    wait_until_read(query, 1_100)
    check(environment, consumer, 1_100)


def test_a_consumer_that_loses_a_deadlock_stores_its_batch_again(
    environment: dict[str, str], settings: Settings, start_script: StartScript, query: Query
) -> None:
    """The records of one partition are stored by one thread: it alone can lose the deadlock."""
    events = random_events(1_000, visitors=30, seed=2)
    consumer = start_script("consumer.py", **SMALL_BATCHES)
    send(environment, events[:500])
    wait_until_read(query, 500)
    with closing(connect(settings, application="other")) as other, other.cursor() as cursor:
        cursor.execute("SET deadlock_timeout = '60s'")  # only the consumer looks for deadlocks
        cursor.execute(LOCK_SESSIONS)
        send(environment, events[500:])
        wait_until_blocked(query)
        cursor.execute("SELECT FROM stream_positions FOR UPDATE")
    wait_until_read(query, len(events))
    assert "PostgreSQL: deadlock detected; storing the batch again" in consumer.output
    assert "another consumer" not in consumer.output
    check(environment, consumer, len(events))


@pytest.mark.parametrize(
    ("setting", "seconds", "words"),
    [
        pytest.param("statement_timeout", 3, "statement timeout", id="timeout of the database"),
        pytest.param("", 35, "lock timeout", id="lock for 35 s", marks=pytest.mark.slow),
    ],
)
def test_a_lock_on_the_sessions_delays_and_changes_nothing(
    setting: str,
    seconds: float,
    words: str,
    environment: dict[str, str],
    settings: Settings,
    start_script: StartScript,
    query: Query,
) -> None:
    """The consumer waits 30 s for a lock; another timeout ends the wait by the same error path."""
    if setting:
        query(f"ALTER DATABASE {environment['POSTGRES_DATABASE']} SET {setting} = '2s'")
    events = random_events(1_000, visitors=30, seed=3)
    consumer = start_script("consumer.py", **SMALL_BATCHES)
    send_by_visitor(environment, events[:500])
    wait_until_read(query, 500)
    with holding(settings, LOCK_SESSIONS):
        send_by_visitor(environment, events[500:])
        wait_until_blocked(query)
        pause(seconds)
    if setting:  # the checks may take longer
        query(f"ALTER DATABASE {environment['POSTGRES_DATABASE']} RESET {setting}")
    wait_until_read(query, len(events))
    assert re.search(REPORTS.format(words), consumer.output)
    check(environment, consumer, len(events))


# == A full disk ================================================================================


@pytest.fixture
def small_disk(maintenance: Callable[[str], None]) -> Iterator[str]:
    """A folder on a disk of 1 MiB, which is also the name of a tablespace there.

    A test asks for it before its database, which then is dropped before the disk.
    """
    if os.geteuid() != 0 or "TEST_POSTGRES_HOST" in os.environ:
        pytest.skip("needs root, to mount a small disk, and the local PostgreSQL")
    folder = f"/var/tmp/clickstream-disk-{uuid.uuid4().hex[:12]}"
    os.mkdir(folder)
    mount = ["mount", "-t", "tmpfs", "-o", f"size=1m,uid={pwd.getpwnam(UNPRIVILEGED_USER).pw_uid}"]
    if subprocess.run([*mount, "tmpfs", folder], capture_output=True, check=False).returncode:
        os.rmdir(folder)
        pytest.skip("this system does not let root mount a small disk")
    maintenance(f"""CREATE TABLESPACE "{folder}" LOCATION '{folder}'""")
    yield folder
    maintenance(f'DROP TABLESPACE "{folder}"')
    # A backend keeps a file open until its next statement.
    eventually(lambda: subprocess.run(["umount", folder], check=False).returncode == 0)
    os.rmdir(folder)


def test_a_consumer_continues_by_itself_after_the_disk_of_postgresql_was_full(
    small_disk: str, environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    query(f'ALTER TABLE clickstream_events SET TABLESPACE "{small_disk}"')
    some = random_events(2_000, visitors=100, seed=4)
    events = [{**each, "note": "x" * 800} for each in some]
    consumer = start_script("consumer.py", **SMALL_BATCHES)
    send_by_visitor(environment, events)
    consumer.wait_for_output("No space left on device")
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    wait_until_read(query, len(events))
    assert re.search(REPORTS.format("No space left on device"), consumer.output)
    check(environment, consumer, len(events))


# == A failover =================================================================================


@pytest.mark.long
@pytest.mark.local_search
def test_after_a_failover_to_a_standby_that_lacks_commits_tables_and_index_are_exact(
    environment: dict[str, str],
    own_postgres: OwnServer,
    search: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    tmp_path: Path,
) -> None:
    """The standby is read-only at first. Its transaction ids are lower than those indexed."""
    own = {**environment, **own_postgres.environment, **search}
    query = query_of(own)
    events = random_events(1_200, visitors=30, seed=5)
    standby = Standby(tmp_path / "own-postgres", own_postgres.environment)
    with fault_proxy("postgres", own) as proxy:
        consumer = start_script("consumer.py", **{**proxy.environment, **SMALL_BATCHES})
        send_by_visitor(environment, events[:400])
        wait_until_read(query, 400)
        standby.copy()
        send_by_visitor(environment, events[400:800])
        wait_until_read(query, 800)
        wait_until_equal(own, search)
        own_postgres.kill()
        proxy.upstream = standby.address
        with standby.running():
            own |= {"POSTGRES_PORT": str(standby.address[1])}
            send_by_visitor(environment, events[800:])
            consumer.wait_for_output("read-only")
            standby.promote()
            wait_until_read(query_of(own), len(events))
            check(own, consumer, len(events))
            consumer.wait_for_output("backfilling the search index: the database was restored")
            wait_until_equal(own, search)
            verified = run_script("summary.py", "--verify", **own)
            assert verified.returncode == 0
