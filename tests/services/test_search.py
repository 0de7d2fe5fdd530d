"""The index matches PostgreSQL while consumers run, also after any failure or SIGKILL."""

from contextlib import closing
from dataclasses import asdict
from itertools import count
from signal import SIGKILL, SIGTERM

import pytest
from opensearchpy import OpenSearch

from clickstream.clients.opensearch import connect
from clickstream.clients.postgres import Connection
from clickstream.settings import Settings
from clickstream.verify.search_index import verify_index
from tests.services import search_oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import event, random_events, send, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.search_fault_proxy import Faults, search_fault_proxy
from tests.services.search_oracle import wait_until_equal
from tests.services.search_servers import SearchServer
from tests.services.test_search_indexer import RULE
from tests.services.waiting import eventually

IS_LEADER = "indexing into OpenSearch"
COUNT_EVENTS = "SELECT count(*) FROM clickstream_events"
SELECT_REFUSED = "SELECT index_name, document_id FROM search_refused_documents"
OUTAGE_EVENTS = 2_000


def count_events(query: Query) -> int:
    ((number,),) = query(COUNT_EVENTS)
    return int(number)


# == OpenSearch fails ===========================================================================


def test_an_outage_under_load_does_not_stop_postgresql(
    environment: dict[str, str],
    own_search: SearchServer,
    start_script: StartScript,
    query: Query,
) -> None:
    """Afterwards the index catches up without a command.

    The local server is empty then, which the indexer notices.
    """
    consumer = start_script("consumer.py", **own_search.environment)
    traffic = start_script("producer.py", "--rate", "200", "--seed", "1")
    eventually(lambda: count_events(query) > 500)
    own_search.stop()
    before = count_events(query)
    consumer.wait_for_output("PostgreSQL continues, and the index catches up by itself")
    eventually(lambda: count_events(query) > before + OUTAGE_EVENTS)
    own_search.start()
    consumer.wait_for_output(" again\n")
    traffic.send_signal(SIGTERM)
    assert traffic.wait() == 0
    assert wait_until_equal(environment, own_search.environment) > before
    assert "Traceback" not in consumer.output


FAULTS = {
    "a fifth of the requests gets 429": Faults(refused=0.2),
    "a fifth of the documents gets 429": Faults(refused_items=0.2),
    "a fifth of the requests gets 503": Faults(unavailable=0.2),
    "a fifth of the replies is cut off": Faults(cut=0.2),
    "replies take 5 seconds": Faults(delay_seconds=5.0),
}
COUNTED_AS = {"delay_seconds": "delayed"}


@pytest.mark.long
@pytest.mark.local_search
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_no_fault_of_opensearch_loses_or_doubles_a_document(
    faults: Faults, environment: dict[str, str], search: dict[str, str], run_script: RunScript
) -> None:
    send_by_visitor(environment, random_events(2_000, visitors=100, seed=1))
    with search_fault_proxy(search, seed=1) as proxy:
        proxy.faults = faults
        drained = run_script(
            "consumer.py", "--drain", CONSUMER_BATCH_EVENTS="200", **proxy.environment
        )
        happened = {name for name, value in asdict(faults).items() if value}
        assert all(proxy.counts[COUNTED_AS.get(name, name)] for name in happened), proxy.counts
    assert drained.returncode == 0, drained.stderr
    assert "Traceback" not in drained.stderr
    assert search_oracle.check({**environment, **search}) > 2_000


def test_a_request_that_arrives_late_does_not_overwrite_newer_documents(
    environment: dict[str, str], search: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Since the request was given up, its sessions have grown or were removed."""
    with search_fault_proxy(search, seed=1) as proxy:
        consumer = start_script("consumer.py", **proxy.environment)
        send(environment, [event("a", 0)])
        wait_until_equal(environment, search)
        proxy.faults = Faults(held_back=1.0)
        send(environment, [event("a", 60), event("b", 100)])
        wait_until_read(query, 3)
        eventually(lambda: proxy.counts["held_back"] > 0)
        proxy.faults = Faults()
        send(environment, [event("a", 90), event("b", 0)])
        wait_until_read(query, 5)
        wait_until_equal(environment, search)
        assert {item["index"]["status"] for late in proxy.deliver_late() for item in late["items"]}
        search_oracle.check({**environment, **search})
        assert consumer.is_running


def test_a_document_that_is_refused_for_its_content_is_listed_and_can_be_sent_again(
    environment: dict[str, str],
    search: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    """All other documents are indexed; the document is accepted once the cause is removed."""
    consumer = start_script("consumer.py", **search)
    send(environment, [event("a", 0)])
    wait_until_equal(environment, search)
    with closing(connect(Settings.from_mapping(search))) as client:
        _index_viewports(client, ignore_malformed=False)
        wrong = event("a", 60, viewport_size="1920x1080")
        send(environment, [wrong, event("a", 61, viewport_size="800"), event("b", 61)])
        eventually(lambda: query(SELECT_REFUSED))
        ((index_name, document_id),) = query(SELECT_REFUSED)
        assert (index_name, document_id[:36]) == ("clickstream-events-2025.06", wrong["event_id"])
        consumer.wait_for_output("OpenSearch refused 1 document;")
        listed = run_script("clickstream", "rejected", "list")
        assert document_id in listed.stdout
        assert "viewport_size.number" in listed.stdout
        compared = run_script("clickstream", "search", "verify", **search)
        assert compared.returncode == 0
        assert compared.stdout.startswith("Not compared: 1 document that OpenSearch refused for")
        assert "OpenSearch matches PostgreSQL" in compared.stdout
        again = run_script("clickstream", "rejected", "retry", **search)
        assert "Sent 1 refused document again; 1 still refused" in again.stdout
        _index_viewports(client, ignore_malformed=True)
    again = run_script("clickstream", "rejected", "retry", **search)
    assert "Sent 1 refused document again; 0 still refused" in again.stdout, again.stderr
    wait_until_equal(environment, search)


def _index_viewports(client: OpenSearch, *, ignore_malformed: bool) -> None:
    """Index the viewport as a number too, as an operator might who does not know its format."""
    (found,) = client.indices.get_mapping(index="clickstream-events-2025.06").values()
    viewport = found["mappings"]["properties"]["viewport_size"]
    number = {"type": "integer", "ignore_malformed": ignore_malformed}
    fields = {"viewport_size": {**viewport, "fields": {"number": number}}}
    client.indices.put_mapping(index="clickstream-events-2025.06", body={"properties": fields})


# == Processes die ==============================================================================


@pytest.mark.long
@pytest.mark.local_search
def test_a_consumer_killed_before_it_moved_the_checkpoint_leaves_the_index_correct(
    environment: dict[str, str],
    search: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
) -> None:
    send_by_visitor(environment, random_events(1_000, visitors=30, seed=2))
    with search_fault_proxy(search, seed=1) as proxy:
        proxy.faults = Faults(delay_seconds=5.0)
        consumer = start_script("consumer.py", **proxy.environment)
        eventually(lambda: proxy.counts["bulks"] > 0)
        consumer.send_signal(SIGKILL)
        assert consumer.wait() == -SIGKILL
    send_by_visitor(environment, random_events(1_000, visitors=30, seed=3))
    drained = run_script("consumer.py", "--drain", **search)
    assert drained.returncode == 0, drained.stderr
    search_oracle.check({**environment, **search})
    verified = run_script("clickstream", "search", "verify", **search)
    assert verified.returncode == 0, verified.stdout


@pytest.mark.long
@pytest.mark.local_search
def test_another_consumer_becomes_the_leader_when_the_leader_is_killed(
    environment: dict[str, str], search: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Only the leader indexes, and the other takes over."""
    consumers = [start_script("consumer.py", **search) for _ in range(2)]
    leader = eventually(lambda: next((one for one in consumers if IS_LEADER in one.output), None))
    (other,) = (one for one in consumers if one is not leader)
    events = random_events(1_000, visitors=30, seed=4)
    send_by_visitor(environment, events[:500])
    wait_until_read(query, 500)
    assert IS_LEADER not in other.output
    leader.send_signal(SIGKILL)
    assert leader.wait() == -SIGKILL
    other.wait_for_output(IS_LEADER)
    send_by_visitor(environment, events[500:])
    wait_until_read(query, len(events))
    wait_until_equal(environment, search)


# == Indexes are missing or outdated ============================================================


@pytest.mark.local_search
@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("clickstream-sessions", "an index was deleted"),
        ("all", "OpenSearch has no index of this database"),
    ],
)
def test_a_deleted_index_is_backfilled_by_the_running_consumer(
    gone: str,
    reason: str,
    environment: dict[str, str],
    search: dict[str, str],
    start_script: StartScript,
    query: Query,
) -> None:
    """Even if no event arrives."""
    consumer = start_script("consumer.py", **search)
    send_by_visitor(environment, random_events(300, visitors=10, seed=5))
    wait_until_read(query, 330)
    wait_until_equal(environment, search)
    with closing(connect(Settings.from_mapping(search))) as client:
        for name in client.indices.get(index="clickstream-*"):
            if gone in {name, "all"}:
                client.indices.delete(index=name)
    consumer.wait_for_output(f"backfilling the search index: {reason}")
    wait_until_equal(environment, search)


@pytest.mark.long
@pytest.mark.local_search
def test_an_index_deleted_or_outdated_while_no_consumer_ran_is_backfilled(
    environment: dict[str, str],
    search: dict[str, str],
    run_script: RunScript,
    query: Query,
) -> None:
    """The next consumer or a rebuild does it; the index of a restored backup counts as outdated."""
    send_by_visitor(environment, random_events(300, visitors=10, seed=6))
    assert run_script("consumer.py", "--drain", **search).returncode == 0
    search_oracle.check({**environment, **search})
    with closing(connect(Settings.from_mapping(search))) as client:
        client.indices.delete(index="clickstream-sessions")
        rebuilt = run_script("clickstream", "search", "rebuild", **search)
        assert rebuilt.returncode == 0, rebuilt.stderr
        search_oracle.check({**environment, **search})
        client.indices.delete(index="clickstream-search-state")
        assert run_script("consumer.py", "--drain", **search).returncode == 0
        search_oracle.check({**environment, **search})
    query("UPDATE search_cursor SET horizon = '5', announced = '5'")
    drained = run_script("consumer.py", "--drain", **search)
    assert "the database was restored to an earlier state" in drained.stderr
    search_oracle.check({**environment, **search})


@pytest.mark.local_search
def test_the_index_can_be_rebuilt_while_a_consumer_runs(
    environment: dict[str, str],
    search: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    consumer = start_script("consumer.py", **search)
    events = random_events(1_000, visitors=30, seed=7)
    send_by_visitor(environment, events[:500])
    wait_until_read(query, 500)
    rebuilt = run_script("clickstream", "search", "rebuild", **search)
    assert rebuilt.returncode == 0, rebuilt.stderr
    send_by_visitor(environment, events[500:])
    wait_until_read(query, len(events))
    wait_until_equal(environment, search)
    assert consumer.is_running


@pytest.mark.local_search
def test_the_index_follows_sessions_recomputed_by_another_rule(
    environment: dict[str, str], search: dict[str, str], run_script: RunScript
) -> None:
    send_by_visitor(environment, random_events(1_000, visitors=30, seed=8))
    assert run_script("consumer.py", "--drain", **search).returncode == 0
    other = {**search, "SESSION_TIMEOUT_SECONDS": "300", "SESSION_START_EVENTS": "login"}
    assert run_script("create_schema.py", "--rebuild-sessions", **other).returncode == 0
    assert run_script("consumer.py", "--drain", **other).returncode == 0
    search_oracle.check({**environment, **search})


# == Search turned on later, messages and commands ==============================================


def test_search_turned_on_later_indexes_all_events_that_are_stored(
    environment: dict[str, str], search: dict[str, str], run_script: RunScript
) -> None:
    sent = run_script("producer.py", "--events", "20000", "--backfill", "3d", "--seed", "1")
    assert sent.returncode == 0
    off = run_script("consumer.py", "--drain")
    assert off.stderr.count("OPENSEARCH_HOST is empty") == 1
    drained = run_script("consumer.py", "--drain", **search)
    assert drained.returncode == 0, drained.stderr
    assert search_oracle.check({**environment, **search}) > 20_000


@pytest.mark.long
@pytest.mark.local_search
def test_report_and_log_give_the_backlog(
    own_search: SearchServer,
    environment: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    consumer = start_script("consumer.py", **own_search.environment)
    send(environment, [event("a", 0)])
    wait_until_equal(environment, own_search.environment)
    assert "everything is indexed" in run_script("summary.py").stdout
    own_search.stop()
    send(environment, [event("a", 1), event("b", 1)])
    wait_until_read(query, 3)
    assert "2 rows to be indexed, the oldest waiting for" in run_script("summary.py").stdout
    consumer.wait_for_output("search index 2 rows, ")
    consumer.send_signal(SIGTERM)
    assert consumer.wait() == 0


@pytest.mark.long
def test_a_drain_without_opensearch_stores_everything_and_says_what_is_wrong(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [event("a", 0)])
    drained = run_script("consumer.py", "--drain", OPENSEARCH_HOST="127.0.0.1", OPENSEARCH_PORT="1")
    assert drained.returncode == 1
    assert "error: the search index makes no progress: see if OpenSearch at 127.0.0.1:1 " in (
        drained.stderr
    )
    assert count_events(query) == 1


def test_verify_lists_every_difference(
    environment: dict[str, str], search: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [event("a", 0), event("b", 0)])
    assert run_script("consumer.py", "--drain", **search).returncode == 0
    ((a,), (b,)) = query("SELECT session_id::text FROM session_metrics ORDER BY user_id")
    with closing(connect(Settings.from_mapping(search))) as client:
        client.update(index="clickstream-sessions", id=a, body={"doc": {"total_events": 7}})
        client.delete(index="clickstream-sessions", id=b)
        for name in ("0" * 8, b):
            client.index(index="clickstream-events-older", id=name, body={"user_id": "nobody"})
    verified = run_script("clickstream", "search", "verify", **search)
    assert verified.returncode == 1
    assert f"document {a}: total_events is 7, not 1" in verified.stdout
    assert f"clickstream-sessions lacks document {b}" in verified.stdout
    assert "clickstream-events-older has document 00000000, which PostgreSQL" in verified.stdout
    assert "4 differences found.\nCompared 4 documents" in verified.stdout


@pytest.mark.local_search
def test_verify_waits_once_for_an_index_that_does_not_move(
    searching: Settings,
    transactions: Connection,
    client: OpenSearch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However many documents are missing. It logs how far it is."""
    events = [event(f"u{number}", number) for number in range(2_500)]
    Batches(transactions, RULE).store([events])
    caplog.set_level("INFO", verify_index.__module__)
    verification = verify_index(searching, transactions, client, clock=count(step=5.0).__next__)
    assert (verification.documents, verification.differences.number) == (5_000, 5_000)
    logged = [each for each in caplog.records if each.name == verify_index.__module__]
    assert [each.getMessage() for each in logged] == [
        "from here on the search index is compared as it is, because it makes no progress",
        *(f"compared {number:,} documents" for number in (2_000, 4_000, 5_000)),
    ]


@pytest.mark.parametrize("action", ["verify", "rebuild"])
def test_search_commands_without_a_host_are_misuse(action: str, run_script: RunScript) -> None:
    done = run_script("clickstream", "search", action)
    assert done.returncode == 2
    assert done.stderr == "error: OPENSEARCH_HOST is empty, so there is no index; set it in .env\n"


@pytest.mark.long
@pytest.mark.local_search
def test_a_stop_waits_only_seconds_for_an_opensearch_that_hangs(
    environment: dict[str, str], search: dict[str, str], start_script: StartScript, query: Query
) -> None:
    with search_fault_proxy(search, seed=1) as proxy:
        consumer = start_script("consumer.py", **proxy.environment)
        send(environment, [event("a", 0)])
        wait_until_equal(environment, search)
        proxy.faults = Faults(delay_seconds=60.0)
        send(environment, [event("a", 1)])
        wait_until_read(query, 2)
        eventually(lambda: proxy.counts["bulks"] > 1)
        consumer.send_signal(SIGTERM)
        assert consumer.wait(40) == 0
    assert "the search index is not up to date yet" in consumer.output
