"""IP_ADDRESSES: no table keeps a full address, and everything else is as without it."""

import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from clickstream.admin import retry_rejected
from clickstream.admin.rejected_records import Selection, show_rejected
from clickstream.clients.postgres import Connection
from clickstream.model.event_ids import event_id_of_record
from clickstream.model.ip_addresses import IpAddresses
from clickstream.model.reading import Reading
from clickstream.storage.outcomes import OutcomeKind
from clickstream.storage.schema import TABLES
from tests.services import oracle
from tests.services.batches import TOPIC, Batches
from tests.services.databases import Query
from tests.services.records import START, event, send, value_of
from tests.services.scripts import PROJECT, RunScript
from tests.services.test_outcomes import COUNTED, RULE, rows_of

ADDRESS = "203.0.113.177"
LIST = f"{ADDRESS}, 2001:db8:1:2::177"
# The ends of both addresses, which no other value has.
MARKS = (b"113.177", b"::177")
# A statement for databases that stored full addresses before.
(TRUNCATION,) = re.findall(
    r"^```sql\n(.+?)^```", (PROJECT / "docs" / "privacy.md").read_text(), re.M | re.S
)
STORED = "SELECT event_id::text, host(ip_address) FROM clickstream_events ORDER BY event_time"
KEPT = 'SELECT reason, value IS NOT NULL FROM rejected_events ORDER BY "offset"'


def full_addresses(connection: Connection) -> list[bytes]:
    """Return the values that hold a full address, of all tables."""
    values = [
        bytes(value) if isinstance(value, memoryview) else repr(value).encode()
        for table in TABLES
        for row in rows_of(connection, f"SELECT * FROM {table}")
        for value in row
    ]
    return [value for value in values if any(mark in value for mark in MARKS)]


def without_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "event_id"}


@pytest.mark.parametrize(("kept", "address"), [("truncated", "203.0.113.0"), ("none", None)])
def test_no_full_address_is_stored_also_after_a_retry_and_a_redelivery(
    transactions: Connection, kept: str, address: str | None
) -> None:
    """A retry and a redelivery agree on the id of an event that was sent without one."""
    stored, listed = event("v", 0, ip_address=ADDRESS), event("v", 60, ip=LIST)
    early = without_id(event("v", 7200, ip=LIST))
    others = [
        {"timestamp": "2025-06-02", "ip": ADDRESS},
        f'[{{"ip": "{ADDRESS}"}}]'.encode(),
        f"GET / {ADDRESS}".encode(),
        {**stored, "user_id": "another"},
    ]
    batches = Batches(transactions, RULE)
    batches.reading = Reading(ip_addresses=IpAddresses(kept))
    records = batches.make_records([[stored, listed, early, *others]])
    for _ in range(2):
        batches.deliver(records, START)
        assert full_addresses(transactions) == []
        assert rows_of(transactions, STORED) == [
            (stored["event_id"], address), (listed["event_id"], address),
        ]  # fmt: skip
        assert rows_of(transactions, KEPT) == [
            ("timestamp_out_of_range", True), ("missing_field", True), ("not_an_object", False),
            ("not_json", False), ("event_id_conflict", True),
        ]  # fmt: skip

    tomorrow = START + timedelta(days=1)
    retried = retry_rejected.retry(transactions, Selection(), now=tomorrow, reading=batches.reading)
    assert retried == Counter({OutcomeKind.NEW: 1, OutcomeKind.REJECTED: 4})
    derived = event_id_of_record((TOPIC.name, 0, 2), value_of(early) or b"")
    assert rows_of(transactions, STORED)[2] == (derived, address)
    batches.acquire()
    batches.deliver(records, tomorrow)
    assert len(rows_of(transactions, STORED)) == 3
    assert rows_of(transactions, COUNTED) == [(14, 4)]
    assert full_addresses(transactions) == []
    shown = "\n".join(show_rejected(transactions, Selection(reason="not_json")))
    assert f"Its value is not kept, by IP_ADDRESSES={kept}." in shown
    oracle.check_sessions(transactions, timeout=RULE.timeout.total_seconds())


@pytest.mark.long
@pytest.mark.local_search
def test_stored_addresses_stay_full_until_the_documented_statement_truncates_them(
    environment: dict[str, str],
    search: dict[str, str],
    run_script: RunScript,
    transactions: Connection,
    query: Query,
) -> None:
    """Sessions and index are exact afterwards, also those of a session that continues."""
    truncated = {**search, "IP_ADDRESSES": "truncated"}
    send(environment, [event("v", 0, ip=LIST), event("w", 0, ip_address=ADDRESS), LIST.encode()])
    assert run_script("consumer.py", "--drain", **search).returncode == 0
    refused = run_script("consumer.py", "--drain", **truncated)
    assert refused.returncode == 1
    assert "IP_ADDRESSES=full" in refused.stderr
    assert "create_schema.py --reading" in refused.stderr
    doctor = run_script("clickstream", "doctor", **truncated)
    assert re.search(
        r"PROBLEM +reading .*IP_ADDRESSES=full.*create_schema.py --reading", doctor.stdout
    )
    assert run_script("create_schema.py", "--reading", **truncated).returncode == 0
    assert len(full_addresses(transactions)) == 6

    query(TRUNCATION)
    assert full_addresses(transactions) == []
    send(environment, [event("v", 60, ip=LIST)])
    assert run_script("consumer.py", "--drain", **truncated).returncode == 0
    assert full_addresses(transactions) == []
    oracle.check({**environment, **truncated})
    assert run_script("clickstream", "search", "rebuild", **truncated).returncode == 0
    verified = run_script("clickstream", "search", "verify", **truncated)
    assert verified.returncode == 0, verified.stdout
