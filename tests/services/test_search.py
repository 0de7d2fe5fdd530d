"""The index beside the running consumer: servers that fail, indexers that die, and equality."""

from contextlib import closing
from dataclasses import asdict
from signal import SIGKILL, SIGTERM
from time import monotonic

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from clickstream.clients.opensearch import connect
from clickstream.settings import Settings
from tests.services import search_oracle
from tests.services.databases import Query
from tests.services.records import event, random_events, send, send_by_visitor, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.search_fault_proxy import Faults, search_fault_proxy
from tests.services.search_servers import SearchServer
from tests.services.waiting import eventually

LEADS = "indexing into OpenSearch"
ROWS = "SELECT count(*) FROM clickstream_events"
REFUSED = "SELECT index_name, document_id FROM search_refused_documents"
OUTAGE_SECONDS = 30


def rows(query: Query) -> int:
    ((number,),) = query(ROWS)
    return int(number)


def equal(environment: dict[str, str], search: dict[str, str]) -> int:
    """Wait until the index is what PostgreSQL says; the number of documents."""

    def documents() -> int:
        try:
            return search_oracle.check({**environment, **search})
        except OpenSearchException:  # an index that was just made cannot be searched yet
            return 0

    return eventually(documents, 60)


# == OpenSearch fails ===========================================================================


def test_an_outage_under_load(
    environment: dict[str, str],
    own_search: SearchServer,
    start_script: StartScript,
    query: Query,
) -> None:
    """PostgreSQL goes on as if nothing were; afterwards the index is equal, without a command.

    (The local server is empty then, which the indexer notices.)
    """
    consumer = start_script("consumer.py", **own_search.environment)
    traffic = start_script("producer.py", "--rate", "200", "--seed", "1")
    eventually(lambda: rows(query) > 500)
    own_search.stop()
    before, gone = rows(query), monotonic()
    consumer.wait_for_output("PostgreSQL goes on, and the index will catch up")
    eventually(lambda: monotonic() > gone + OUTAGE_SECONDS, OUTAGE_SECONDS + 5)
    assert rows(query) > before + 200 * OUTAGE_SECONDS / 2
    own_search.start()
    consumer.wait_for_output(f"{own_search.environment['OPENSEARCH_PORT']} again")
    traffic.send_signal(SIGTERM)
    assert traffic.wait() == 0
    assert equal(environment, own_search.environment) > before
    assert "Traceback" not in consumer.output


FAULTS = {
    "a fifth of the requests is too many": Faults(refused=0.2),
    "a fifth of the documents is too many": Faults(refused_items=0.2),
    "a fifth is unavailable": Faults(unavailable=0.2),
    "a fifth of the replies is cut": Faults(cut=0.2),
    "replies take 5 seconds": Faults(delay_seconds=5.0),
}
COUNTED_AS = {"delay_seconds": "delayed"}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_faults_of_many_kinds(
    faults: Faults, environment: dict[str, str], search: dict[str, str], run_script: RunScript
) -> None:
    """Each document is there in the end, and once."""
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


def test_a_request_that_arrives_late_does_no_harm(
    environment: dict[str, str], search: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """It was given up; meanwhile the session it writes has grown, or is gone."""
    with search_fault_proxy(search, seed=1) as proxy:
        consumer = start_script("consumer.py", **proxy.environment)
        send(environment, [event("a", 0)])
        equal(environment, search)
        proxy.faults = Faults(held_back=1.0)
        send(environment, [event("a", 60), event("b", 100)])
        wait_until_read(query, 3)
        eventually(lambda: proxy.counts["held_back"] > 0)
        proxy.faults = Faults()
        send(environment, [event("a", 90), event("b", 0)])
        wait_until_read(query, 5)
        equal(environment, search)
        assert {item["index"]["status"] for late in proxy.deliver_late() for item in late["items"]}
        search_oracle.check({**environment, **search})
        assert consumer.is_running


def test_a_document_that_is_refused_for_its_content(
    environment: dict[str, str],
    search: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    """The others go on; it is listed, and after the cure it is sent again."""
    consumer = start_script("consumer.py", **search)
    send(environment, [event("a", 0)])
    equal(environment, search)
    with closing(connect(Settings.from_mapping(search))) as client:
        _index_viewports(client, ignore_malformed=False)
        wrong = event("a", 60, viewport_size="1920x1080")
        send(environment, [wrong, event("a", 61, viewport_size="800"), event("b", 61)])
        eventually(lambda: query(REFUSED))
        ((index_name, document_id),) = query(REFUSED)
        assert (index_name, document_id[:36]) == ("clickstream-events-2025.06", wrong["event_id"])
        consumer.wait_for_output("OpenSearch refused 1 documents")
        listed = run_script("clickstream", "rejected", "list")
        assert document_id in listed.stdout
        assert "viewport_size.number" in listed.stdout
        compared = run_script("clickstream", "search", "verify", **search)
        assert compared.returncode == 1
        assert f"lacks document {document_id}" in compared.stdout
        again = run_script("clickstream", "rejected", "retry", **search)
        assert "1 refused documents were sent again, 1 stay refused" in again.stdout
        _index_viewports(client, ignore_malformed=True)
    again = run_script("clickstream", "rejected", "retry", **search)
    assert "1 refused documents were sent again, 0 stay refused" in again.stdout, again.stderr
    equal(environment, search)


def _index_viewports(client: OpenSearch, *, ignore_malformed: bool) -> None:
    """As an operator might: index the viewport as a number too, which it seldom is."""
    (found,) = client.indices.get_mapping(index="clickstream-events-2025.06").values()
    viewport = found["mappings"]["properties"]["viewport_size"]
    number = {"type": "integer", "ignore_malformed": ignore_malformed}
    fields = {"viewport_size": {**viewport, "fields": {"number": number}}}
    client.indices.put_mapping(index="clickstream-events-2025.06", body={"properties": fields})


# == Processes die ==============================================================================


def test_killed_between_the_index_and_the_cursor(
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


def test_the_indexer_is_killed_while_another_consumer_runs(
    environment: dict[str, str], search: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """One of them works at a time; the other takes over within seconds."""
    consumers = [start_script("consumer.py", **search) for _ in range(2)]
    leader = eventually(lambda: next((one for one in consumers if LEADS in one.output), None))
    (other,) = (one for one in consumers if one is not leader)
    events = random_events(1_000, visitors=30, seed=4)
    send_by_visitor(environment, events[:500])
    wait_until_read(query, 500)
    assert LEADS not in other.output
    leader.send_signal(SIGKILL)
    assert leader.wait() == -SIGKILL
    other.wait_for_output(LEADS, 10)
    send_by_visitor(environment, events[500:])
    wait_until_read(query, len(events))
    equal(environment, search)


# == The index is gone, or another one's ========================================================


@pytest.mark.parametrize("gone", ["clickstream-sessions", "all"])
def test_an_index_is_deleted_under_the_consumer(
    gone: str,
    environment: dict[str, str],
    search: dict[str, str],
    start_script: StartScript,
    query: Query,
) -> None:
    """Noticed also where no event comes."""
    consumer = start_script("consumer.py", **search)
    send_by_visitor(environment, random_events(300, visitors=10, seed=5))
    wait_until_read(query, 330)
    equal(environment, search)
    with closing(connect(Settings.from_mapping(search))) as client:
        for name in client.indices.get(index="clickstream-*"):
            if gone in {name, "all"}:
                client.indices.delete(index=name)
    consumer.wait_for_output("filling the search index from the beginning")
    equal(environment, search)


def test_wiped_or_behind_while_no_consumer_ran(
    environment: dict[str, str],
    search: dict[str, str],
    run_script: RunScript,
    query: Query,
) -> None:
    """The next consumer, or the rebuild, fills it; so for a database that was set back."""
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
    query("UPDATE search_cursor SET horizon = '5'")
    drained = run_script("consumer.py", "--drain", **search)
    assert "the database was set back" in drained.stderr
    search_oracle.check({**environment, **search})


def test_a_rebuild_while_a_consumer_runs(
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
    equal(environment, search)
    assert consumer.is_running


def test_sessions_are_rebuilt_by_another_rule(
    environment: dict[str, str], search: dict[str, str], run_script: RunScript
) -> None:
    """The documents follow."""
    send_by_visitor(environment, random_events(1_000, visitors=30, seed=8))
    assert run_script("consumer.py", "--drain", **search).returncode == 0
    other = {**search, "SESSION_TIMEOUT_SECONDS": "300", "SESSION_START_EVENTS": "login"}
    assert run_script("create_schema.py", "--rebuild-sessions", **other).returncode == 0
    assert run_script("consumer.py", "--drain", **other).returncode == 0
    search_oracle.check({**environment, **search})


# == Turned on later, and what is said of it ====================================================


def test_turned_on_after_50_000_rows(
    environment: dict[str, str], search: dict[str, str], run_script: RunScript
) -> None:
    sent = run_script("producer.py", "--events", "50000", "--backfill", "3d", "--seed", "1")
    assert sent.returncode == 0
    off = run_script("consumer.py", "--drain")
    assert off.stderr.count("OPENSEARCH_HOST is empty") == 1
    drained = run_script("consumer.py", "--drain", **search)
    assert drained.returncode == 0, drained.stderr
    assert search_oracle.check({**environment, **search}) > 50_000


def test_the_backlog_is_told(
    own_search: SearchServer,
    environment: dict[str, str],
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    consumer = start_script("consumer.py", **own_search.environment)
    send(environment, [event("a", 0)])
    equal(environment, own_search.environment)
    assert "everything is indexed" in run_script("summary.py").stdout
    own_search.stop()
    send(environment, [event("a", 1), event("b", 1)])
    wait_until_read(query, 3)
    assert "2 rows to be indexed, the first for" in run_script("summary.py").stdout
    consumer.wait_for_output("search index 2 rows, ")
    consumer.send_signal(SIGTERM)
    assert consumer.wait() == 0


def test_a_drain_without_opensearch_says_what_is_wrong(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    """What is stored is stored."""
    send(environment, [event("a", 0)])
    drained = run_script("consumer.py", "--drain", OPENSEARCH_HOST="127.0.0.1", OPENSEARCH_PORT="1")
    assert drained.returncode == 1
    assert "error: the search index does not move: see whether OpenSearch at 127.0.0.1:1 " in (
        drained.stderr
    )
    assert rows(query) == 1


def test_verify_lists_what_differs(
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
    assert "clickstream-events-older has document 00000000, which is nothing" in verified.stdout
    assert verified.stdout.rstrip().endswith("4 differences between OpenSearch and 4 documents.")


@pytest.mark.parametrize("action", ["verify", "rebuild"])
def test_without_a_host_there_is_nothing_to_do(action: str, run_script: RunScript) -> None:
    done = run_script("clickstream", "search", action)
    assert done.returncode == 2
    assert done.stderr == "error: OPENSEARCH_HOST is empty, so there is no index; set it in .env\n"


def test_a_stop_does_not_wait_for_an_opensearch_that_hangs(
    environment: dict[str, str], search: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """It is given some seconds."""
    with search_fault_proxy(search, seed=1) as proxy:
        consumer = start_script("consumer.py", **proxy.environment)
        send(environment, [event("a", 0)])
        equal(environment, search)
        proxy.faults = Faults(delay_seconds=60.0)
        send(environment, [event("a", 1)])
        wait_until_read(query, 2)
        eventually(lambda: proxy.counts["bulks"] > 1)
        consumer.send_signal(SIGTERM)
        assert consumer.wait(15) == 0
    assert "the search index is behind" in consumer.output
