"""Erasing visitors: nothing of them is left or comes back, and everything else stays exact."""

import json
import stat
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest
from opensearchpy import OpenSearch

from clickstream.admin import erase_visitors
from clickstream.clients.postgres import Connection, Cursor, connect
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import erased_visitors, write_lock
from clickstream.storage.positions import FencedError
from clickstream.verify.stored_sessions import verify_sessions
from tests.services import oracle
from tests.services.batches import Batches
from tests.services.databases import COPY_DATABASE, DROP_DATABASE, Query, query_of
from tests.services.records import event, random_events, send, send_keyed, wait_until_read
from tests.services.scripts import RunScript, StartScript
from tests.services.search_oracle import wait_until_equal
from tests.services.waiting import eventually

# An id with characters that JSON escapes, SQL quotes, a shell expands and a terminal obeys.
VISITOR = 'o\'Br\\ien "é"/%s\t$(id)\x1b[2J😀'
OTHER = "visitor-2"
RULE = Rule(timedelta(minutes=1), frozenset(), frozenset())
# The key and the content of a record.
KeyedRecord = tuple[bytes | None, Any]
# Tables that may hold a visitor's id, as text.
ROWS_WITH = """
    SELECT 'event' FROM clickstream_events WHERE user_id = %(visitor)s
    UNION ALL SELECT 'session' FROM session_metrics WHERE user_id = %(visitor)s
    UNION ALL SELECT 'change' FROM session_changes WHERE user_id = %(visitor)s
    UNION ALL SELECT 'refused' FROM search_refused_documents
    UNION ALL SELECT 'rejected: ' || reason FROM rejected_events
    WHERE position(convert_to(%(visitor)s, 'UTF8') IN key) > 0
"""
REFUSE_DOCUMENTS = """
    INSERT INTO search_refused_documents (index_name, document_id, status, reason)
    SELECT 'clickstream-sessions', session_id::text, 400, user_id FROM session_metrics
    WHERE user_id = %s
"""
INSERT_CHECKPOINT = """
    INSERT INTO search_cursor (horizon, token, system_identifier)
    SELECT pg_current_xact_id(), '', system_identifier::text FROM pg_control_system()
"""
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND application_name = 'clickstream erase'
"""


def rows_with(query: Query, visitor: str) -> list[str]:
    """Return the kinds of rows that hold a visitor."""
    return [kind for (kind,) in query(ROWS_WITH, {"visitor": visitor})]


def rejected_of(visitor: str) -> list[KeyedRecord]:
    """Return records, as key and content, that are rejected and name a visitor in some way."""
    return [
        (visitor.encode(), b"no JSON"),
        (None, event(visitor, 0, timestamp="never")),
        (None, json.dumps([event(visitor, 0), event(OTHER, 0)]).encode()),
        (None, json.dumps(json.dumps(event(visitor, 0), ensure_ascii=False)).encode()),
        (b"a key", {"timestamp": "never", "person": visitor}),
        (None, f'{{"user_id": {json.dumps(visitor)}, "time'.encode()),
    ]


def kept_rejections() -> list[KeyedRecord]:
    """Return records, as key and content, that are rejected and name another visitor."""
    return [(OTHER.encode(), b"no JSON"), (None, event(OTHER, 0, timestamp="never"))]


@pytest.mark.long
@pytest.mark.local_search
def test_an_erased_visitor_is_gone_everywhere_and_stays_so_when_the_topic_is_read_again(
    environment: dict[str, str],
    search: dict[str, str],
    client: OpenSearch,
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
    tmp_path: Path,
) -> None:
    """A consumer runs, with the visitor's session in its cache. OpenSearch is away at first."""
    both = [event(each, 60 * n) for n in range(20) for each in (VISITOR, OTHER)]
    records = [*(((None, each)) for each in both), *rejected_of(VISITOR), *kept_rejections()]
    consumer = start_script("consumer.py", **search)
    _send(environment, records)
    wait_until_read(query, len(records))
    wait_until_equal(environment, search)
    query(REFUSE_DOCUMENTS, [VISITOR])
    journal = tmp_path / "journal"
    command = ("clickstream", "erase", "--user-id", VISITOR, "--yes", "--journal", str(journal))

    unreachable = run_script(*command, **{**search, "OPENSEARCH_PORT": "1"})
    assert unreachable.returncode == 1
    assert "documents may be left in the search index" in unreachable.stderr
    assert "run the same command again" in unreachable.stderr
    assert rows_with(query, VISITOR) == []
    stray = {"index": "clickstream-sessions", "id": "of nobody"}
    client.index(**stray, body={"user_id": VISITOR})
    incomplete = run_script(*command, **search)
    assert incomplete.returncode == 1
    assert "has 1 document of what PostgreSQL no longer has" in incomplete.stderr
    client.delete(**stray)
    erased = run_script(*command, "--json", **search)
    assert erased.returncode == 0, erased.stderr
    numbers = json.loads(erased.stdout)
    assert (numbers["visitors"], numbers["events"], numbers["is_complete"]) == (1, 0, True)
    assert "Erased 1 visitor: 20 events in 1 session, and 6 rejected records." in unreachable.stdout
    for run in (unreachable, erased):
        assert "o'Br" not in run.stdout + run.stderr + consumer.output
    assert _documents_of(client, VISITOR) == 0
    assert _documents_of(client, OTHER) == 20 + 1
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert "o'Br" not in journal.read_text()
    assert _counters(environment) == {"records": len(records), "rows": 20, "removed": 26}

    again = [event(each, 60 * n) for n in range(20, 25) for each in (VISITOR, OTHER)]
    send(environment, again)
    wait_until_read(query, len(records) + len(again))
    assert _counters(environment)["removed"] == 26 + 5
    assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
    total = 2 * (len(records) + len(again))
    wait_until_read(query, total)
    assert consumer.is_running
    assert "Traceback" not in consumer.output
    # Only in the record that is cut, and in the one without a user_id, nobody can recognise it.
    assert _counters(environment) == {"records": total, "rows": 25, "removed": 31 + 25 + 4}
    assert query("SELECT count(*) FROM rejected_events") == [(len(kept_rejections()) + 2,)]
    assert rows_with(query, VISITOR) == []
    assert query("SELECT total_events FROM session_metrics") == [(25,)]
    wait_until_equal(environment, search)
    assert _documents_of(client, VISITOR) == 0
    assert run_script("summary.py", "--verify").returncode == 0

    found = run_script("clickstream", "find", "--user", VISITOR)
    assert (found.returncode, "was erased on" in found.stdout) == (1, True)
    found = run_script("clickstream", "find", "0:0")
    assert (found.returncode, "was removed" in found.stdout) == (1, True)


def _send(environment: dict[str, str], records: Sequence[KeyedRecord]) -> None:
    """Send records with keys of their own to one partition."""
    keys = iter([key for key, _ in records])
    contents = [content for _, content in records]
    send_keyed(environment, contents, key=lambda _: next(keys), partition=lambda _: 0)


def _documents_of(client: OpenSearch, visitor: str) -> int:
    client.indices.refresh(index="clickstream-*")
    query = {"query": {"term": {"user_id": visitor}}}
    found = client.count(index="clickstream-events-*,clickstream-sessions", body=query)
    return int(found["count"])


def _counters(environment: dict[str, str]) -> dict[str, int]:
    counters = oracle.check(environment)
    return {name: counters[name] for name in ("records", "rows", "removed")}


def test_erasures_are_repeated_in_a_database_restored_from_an_older_backup(
    environment: dict[str, str],
    run_script: RunScript,
    maintenance: Callable[[str], None],
    tmp_path: Path,
) -> None:
    records = [
        *((None, each) for each in random_events(300, 5, seed=1)),
        *rejected_of("visitor-1"),
        (b"only rejected", b"no JSON"),
    ]
    _send(environment, records)
    assert run_script("consumer.py", "--drain").returncode == 0
    backup = f"{environment['POSTGRES_DATABASE']}_backup"
    restored = {**environment, "POSTGRES_DATABASE": backup}
    maintenance(COPY_DATABASE.format(name=backup, template=environment["POSTGRES_DATABASE"]))
    try:
        journal, ids = tmp_path / "journal", tmp_path / "ids"
        ids.write_text("visitor-1\nonly rejected\r\nunknown\n\n")
        options = ("--from-file", str(ids), "--yes", "--json", "--journal", str(journal))
        erased = run_script("clickstream", "erase", *options)
        assert erased.returncode == 0, erased.stderr
        for _ in range(2):
            repeated = run_script(
                "clickstream", "erase", "--again", str(journal), "--json", POSTGRES_DATABASE=backup
            )
            assert repeated.returncode == 0, repeated.stderr
            if json.loads(repeated.stdout)["events"]:
                assert _numbers(repeated.stdout) == _numbers(erased.stdout)
        send(environment, [event("visitor-1", 0), event("only rejected", 0), event("new", 0)])
        assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
        for database in (environment, restored):
            drained = run_script("consumer.py", "--drain", **_database(database))
            assert drained.returncode == 0, drained.stderr
            counters = oracle.check(database)
            assert counters["rejected"] == (2 if database is environment else 0)
            run = query_of(database)
            visitors = run("SELECT DISTINCT user_id FROM clickstream_events ORDER BY 1")
            names = [f"visitor-{n}" for n in (0, 2, 3, 4)]
            assert [visitor for (visitor,) in visitors] == ["new", *names]
    finally:
        maintenance(DROP_DATABASE.format(name=backup))


def _database(environment: dict[str, str]) -> dict[str, str]:
    return {"POSTGRES_DATABASE": environment["POSTGRES_DATABASE"]}


def _numbers(report: str) -> dict[str, int]:
    numbers = json.loads(report)
    return {name: numbers[name] for name in ("visitors", "events", "sessions", "rejected")}


def test_nothing_is_erased_without_a_yes_or_without_a_journal(
    run_script: RunScript, transactions: Connection, query: Query, tmp_path: Path
) -> None:
    Batches(transactions, RULE).store([[event(VISITOR, n) for n in range(3)], []])
    journal, missing = tmp_path / "journal", tmp_path / "missing"
    erase = ("clickstream", "erase", "--journal", str(journal))

    refused = run_script(*erase, "--user-id", VISITOR, stdin="n\n")
    assert (refused.returncode, refused.stdout) == (1, "Nothing was erased.\n")
    assert "(3 events in 1 session, and rejected records) permanently? [y/N]" in refused.stderr
    assert "\x1b" not in refused.stderr
    unanswered = run_script(*erase, "--user-id", VISITOR)
    assert (unanswered.returncode, "add --yes" in unanswered.stderr) == (2, True)
    blank = tmp_path / "blank"
    blank.write_text(" \t\n\n\u00a0\r\n", encoding="utf-8")
    for file, sentence in ((missing, "check --from-file"), (blank, "has no ids")):
        no_ids = run_script(*erase, "--yes", "--from-file", str(file))
        assert (no_ids.returncode, sentence in no_ids.stderr) == (2, True)
    assert not journal.exists()
    no_journal = run_script(
        *("clickstream", "erase", "--user-id", VISITOR, "--yes"),
        *("--journal", str(missing / "journal")),
    )
    assert (no_journal.returncode, "cannot write the journal" in no_journal.stderr) == (1, True)
    assert query("SELECT count(*) FROM clickstream_events") == [(3,)]
    assert query("SELECT count(*) FROM erased_visitors") == [(0,)]

    query(INSERT_CHECKPOINT)
    without_search = run_script(*erase, "--user-id", VISITOR, stdin="yes\n")
    assert (without_search.returncode, "OPENSEARCH_HOST is" in without_search.stderr) == (1, True)
    assert query("SELECT count(*) FROM clickstream_events") == [(0,)]


# == In the test's own process ==================================================================


def test_records_of_an_erased_visitor_are_removed_whatever_else_is_wrong_with_them(
    transactions: Connection,
) -> None:
    batches = Batches(transactions, RULE)
    known = event(OTHER, 0)
    batches.store([[known], []])
    with transactions, transactions.cursor() as cursor:
        key = erased_visitors.ensure_key(cursor)
        erased_visitors.add(cursor, [erased_visitors.hash_visitor(key, "42")])
    removed = [
        event("42", 0),
        {**event("42", 0), "user_id": 42.0},
        b'{"user_id": 4.2e1}',
        b'[{"user_id": "4\\u0032"}]',
        {**known, "user_id": 42},
    ]
    kept = [event("421", 0), {**known, "user_id": "another"}, b'{"user_id": "other", "n": 42}']
    (progress, _) = batches.store([[*removed, *kept], []])
    assert (progress.removed, progress.rejected) == (len(removed), 2)
    oracle.check_sessions(transactions, timeout=60)


def test_a_visitor_with_many_events_is_erased_in_steps_between_which_all_sessions_are_exact(
    transactions: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(erase_visitors, "STEP_EVENTS", 40)
    batches = Batches(transactions, RULE)
    batches.store([random_events(500, 2, seed=2), []])
    steps = []
    share = write_lock.share

    def begin_step(cursor: Cursor, timeout: str) -> None:
        steps.append(verify_sessions(other).differences.number)
        share(cursor, timeout)

    with closing(connect(settings, application="test")) as other, monkeypatch.context() as patch:
        patch.setattr(write_lock, "share", begin_step)
        erased = erase_visitors.erase(transactions, {"visitor-1"}, tmp_path / "journal")
    assert len(steps) > 5
    assert set(steps) == {0}
    assert erased.events > 200
    oracle.check_sessions(transactions, timeout=60)
    with pytest.raises(FencedError):  # its cache may have the visitor
        batches.store([[event("visitor-1", 1)], []])
    batches.acquire()
    (progress, _) = batches.store([[event("visitor-1", 0), event("visitor-0", 50_000)], []])
    assert (progress.removed, progress.duplicates) == (1, 0)
    oracle.check_sessions(transactions, timeout=60)


def test_ctrl_c_ends_erase_while_it_waits_for_a_consumer(
    transactions: Connection, start_script: StartScript, query: Query, tmp_path: Path
) -> None:
    with transactions.cursor() as cursor:
        write_lock.share(cursor, "60s")
        options = ("--user-id", VISITOR, "--yes", "--journal", str(tmp_path / "journal"))
        interrupted = start_script("clickstream", "erase", *options)
        eventually(lambda: query(WAITING) == [(1,)])
        interrupted.send_signal(SIGINT)
        assert interrupted.wait() == 130
    assert interrupted.output == "interrupted\n"
