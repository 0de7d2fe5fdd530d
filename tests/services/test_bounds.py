"""Limits of what a batch takes: memory for large records, and time in the transaction."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from clickstream.clients.postgres import Connection
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import event_table, large_sessions
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.oracle import check_sessions
from tests.services.records import event, send, wait_until_read
from tests.services.scripts import StartScript
from tests.services.test_unreadable import send_batch

MAX_MIB = 1024
ONE_MIB = 1 << 20


def peak_mib(pid: int) -> float:
    """Return the largest resident size of a process so far, MiB."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("the memory of a process is read from /proc, which only Linux has")
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(kib) / 1024


@pytest.mark.long
def test_events_of_1_mib_take_bounded_memory(
    environment: dict[str, str], start_script: StartScript, query: Query
) -> None:
    """Without a limit of bytes, these 500 would be one batch of 2 GiB and more."""
    send(environment, [event("v", n, extra="x" * (ONE_MIB - 500)) for n in range(500)])
    consumer = start_script("consumer.py")
    wait_until_read(query, 500, seconds=120)
    assert query("SELECT count(*) FROM clickstream_events") == [(500,)]
    assert peak_mib(consumer.pid) < MAX_MIB


def test_a_compressed_record_of_300_mib_takes_bounded_memory_and_is_rejected_with_its_size(
    environment: dict[str, str],
    settings: Settings,
    start_script: StartScript,
    query: Query,
) -> None:
    size = 300 * ONE_MIB
    send_batch(settings, [bytes(size)], "gzip")
    send(environment, [event("behind", 0)])
    consumer = start_script("consumer.py")
    wait_until_read(query, 2, seconds=120)
    ((reason, detail, value),) = query("SELECT reason, detail, value FROM rejected_events")
    assert (reason, bytes(value)) == ("value_too_large", bytes(ONE_MIB))
    assert f"{size} bytes" in detail
    assert query("SELECT user_id FROM clickstream_events") == [("behind",)]
    assert peak_mib(consumer.pid) < MAX_MIB


def test_the_events_of_a_large_session_are_not_read_again_after_a_restart(
    transactions: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_sessions, "LARGE_SESSION_EVENTS", 10)
    monkeypatch.setattr(event_table, "read_ranges", None)
    batches = Batches(transactions, Rule(timedelta(minutes=30), frozenset(), frozenset()))
    batches.store([[event("bot", n) for n in range(10)]])
    batches.acquire()
    batches.store([[event("bot", 5.5), event("bot", 11)]])
    check_sessions(transactions, timeout=1800)
