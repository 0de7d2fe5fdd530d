"""Records that cannot become an event: stored with reason and bytes, while others are stored."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from clickstream.clients.postgres import Connection, only_row
from clickstream.model.events import MAX_VALUE_BYTES
from clickstream.model.sessions import Rule
from tests.services import oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import event, send, send_by_visitor, value_of, wait_until_read
from tests.services.scripts import RunScript, StartScript

GOOD = event("good", 0, event_id="known")
REJECTED = 'SELECT reason, value FROM rejected_events ORDER BY partition, "offset"'
START_REFUSING = (
    "ALTER TABLE clickstream_events ADD CONSTRAINT refusing CHECK (page_url <> '/refused')"
)
STOP_REFUSING = "ALTER TABLE clickstream_events DROP CONSTRAINT refusing"


def _with(**fields: Any) -> dict[str, Any]:
    return {**event("bad", 0), **fields}


def _without(field: str) -> dict[str, Any]:
    return {name: value for name, value in event("bad", 0).items() if name != field}


def _text(text: str) -> bytes:
    """Return an event with this JSON as the value of one of its fields."""
    return value_of(_with(extra="HERE")).replace(b'"HERE"', text.encode())  # type: ignore[union-attr]


def _ahead(hours: float) -> str:
    """Return a timestamp ahead of now. An hour is accepted, counted from when it is read."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


YEAR_HOURS = 365 * 24
BAD = [
    ("no_value", None),
    ("not_json", b""),
    ("not_json", b"a line of text"),
    ("not_json", value_of(GOOD)[:-1]),  # type: ignore[index]
    ("not_utf8", b'{"user_id": "\xff"}'),
    ("not_utf8", bytes(range(1, 256))),
    ("schema_registry_not_json", b"\0\0\0\0\7\x02\x06abc"),
    ("not_an_object", b"[]"),
    ("not_an_object", b"17"),
    ("not_an_object", b"null"),
    ("nested_too_deep", b"[" * 100_000 + b"]" * 100_000),
    ("nested_too_deep", _text("[" * 50_000 + "]" * 50_000)),
    ("bad_text", _with(user_id="u\0")),
    ("bad_text", _with(event_type="\ud800")),
    ("missing_field", _without("event_type")),
    ("missing_field", _without("timestamp")),
    ("missing_field", _without("user_id")),
    ("missing_field", _with(user_id="")),
    ("missing_field", _with(user_id=" \t")),
    ("missing_field", _with(event_type=None)),
    ("missing_field", b"\xef\xbb\xbf{}"),
    ("wrong_type", _with(user_id=1.5)),
    ("wrong_type", _with(user_id=True)),
    ("wrong_type", _with(event_type=["click"])),
    ("wrong_type", _with(timestamp={})),
    ("wrong_type", _with(timestamp=True)),
    ("too_long", _with(user_id="u" * 257)),
    ("too_long", _with(user_id="ü" * 129)),
    ("too_long", _with(event_type="t" * 257)),
    ("value_too_large", _with(extra="x" * (1 << 20))),
    ("bad_timestamp", _with(timestamp="yesterday")),
    ("bad_timestamp", _with(timestamp="2025-02-30T00:00:00Z")),
    ("timestamp_out_of_range", _with(timestamp=_ahead(YEAR_HOURS))),
    ("timestamp_out_of_range", _with(timestamp=1e300)),
    ("timestamp_out_of_range", _with(timestamp=-(10**12))),
    ("timestamp_out_of_range", _with(timestamp=0)),
    ("timestamp_out_of_range", _with(timestamp="0001-01-01T00:00:00+14:00")),
    ("event_id_conflict", {**GOOD, "user_id": "another"}),
]


def test_every_kind_of_bad_record_is_rejected_with_its_reason_and_all_good_ones_are_stored(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    good = [GOOD, *(event("good", 60 * n) for n in range(1, len(BAD)))]
    send(environment, [each for pair in zip(good, BAD_RECORDS, strict=True) for each in pair])
    result = run_script("consumer.py", "--drain")
    assert result.returncode == 0, result.stderr
    assert _rejected(query) == [(reason, _kept(value_of(content))) for reason, content in BAD]
    counters = oracle.check(environment)
    assert (counters["rows"], counters["rejected"]) == (len(good), len(BAD))
    assert query("SELECT total_events FROM session_metrics") == [(len(good),)]


BAD_RECORDS = [content for _, content in BAD]


def _kept(value: bytes | None) -> bytes | None:
    """Return what rejected_events keeps of a value."""
    return value and value[:MAX_VALUE_BYTES]


def test_an_event_that_postgres_refuses_is_rejected_alone_and_a_retry_stores_it_once(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """The retried event belongs to the middle of a session that a running consumer has cached."""
    query(START_REFUSING)
    consumer = start_script("consumer.py")
    session = [event("visitor", 60 * n, page_url=f"/{n}") for n in range(100)]
    session[50]["page_url"] = "/refused"
    send(environment, session)
    wait_until_read(query, 100)
    assert _rejected(query) == [("refused_by_postgres", value_of(session[50]))]
    assert oracle.check(environment)["rows"] == 99

    query(STOP_REFUSING)
    for stored in (1, 0):
        retried = run_script("clickstream", "rejected", "retry")
        assert retried.returncode == 0, retried.stderr
        assert retried.stdout.startswith(f"Tried again: {stored} new event")
    send(environment, [event("visitor", 6_000)])
    wait_until_read(query, 101)
    assert consumer.is_running
    counters = oracle.check(environment)
    assert (counters["rows"], counters["rejected"]) == (101, 0)
    assert query("SELECT total_events FROM session_metrics") == [(101,)]


def test_rejected_records_are_listed_shown_and_stored_by_a_retry_if_they_are_valid_by_now(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    """One of the three becomes an event, one is its duplicate, and one stays rejected."""
    ahead = event("visitor", 0, timestamp=_ahead(YEAR_HOURS))
    send(environment, [ahead, ahead, b"not JSON"])
    assert run_script("consumer.py", "--drain").returncode == 0
    assert oracle.check(environment)["rejected"] == 3
    listed = run_script("clickstream", "rejected", "list").stdout
    assert "2  timestamp_out_of_range" in listed
    assert "1  not_json" in listed
    assert "not JSON" in run_script("clickstream", "rejected", "show", "0:2").stdout

    two_years = str(2 * YEAR_HOURS * 3600)
    retried = run_script("clickstream", "rejected", "retry", MAX_FUTURE_SECONDS=two_years)
    assert retried.stdout.startswith("Tried again: 1 new event, 1 duplicate, 1 still rejected.")
    counters = oracle.check(environment)
    assert (counters["rows"], counters["duplicates"], counters["rejected"]) == (1, 1, 1)
    assert [reason for reason, _ in _rejected(query)] == ["not_json"]


def test_the_list_of_one_reason_counts_and_lists_that_reason_alone_below_headings(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [b"not JSON", _without("user_id"), b"{", _with(user_id="u" * 9_999)])
    assert run_script("consumer.py", "--drain").returncode == 0
    listed = run_script("clickstream", "rejected", "list", "--reason", "not_json", "--limit", "1")
    lines = listed.stdout.splitlines()
    assert lines[:3] == ["  records  reason", "        2  not_json", ""]
    assert lines[3] == "rejected at (UTC)    record  reason    topic"
    assert lines[4].endswith(f"  0:2     not_json  {environment['KAFKA_TOPIC']}")
    assert len(lines) == 6

    listed = run_script("clickstream", "rejected", "list")
    lines = listed.stdout.splitlines()
    assert len(lines) == 1 + 3 + 1 + 1 + 4 * 2
    assert max(map(len, lines)) <= 80
    listed = run_script("clickstream", "rejected", "list", "--reason", "no_value")
    assert listed.stdout == "No record was rejected as no_value.\n"


def test_a_record_is_shown_as_text_or_as_a_hex_dump_if_it_is_none(
    environment: dict[str, str], run_script: RunScript
) -> None:
    """A schema registry's serializer writes byte 0 and a schema id before the value."""
    send(environment, [b"\0\0\0\0\7\2\6abc", "{\n  ü".encode()])
    assert run_script("consumer.py", "--drain").returncode == 0
    shown = run_script("clickstream", "rejected", "show", "0:0").stdout
    hex_digits = "0000 0000 0702 0661 6263"
    assert f"\nvalue        00000000: {hex_digits:<39}  .......abc\n" in shown
    shown = run_script("clickstream", "rejected", "show", "0:1").stdout
    assert shown.endswith("\nvalue        {\n               ü\n")


@pytest.mark.long
def test_deleted_records_count_as_removed_and_are_rejected_again_if_they_are_read_again(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    """A consumer continues meanwhile."""
    consumer = start_script("consumer.py")
    send(environment, [b"not JSON", _without("user_id"), b"{", GOOD])
    wait_until_read(query, 4)
    by_reason = run_script(
        "clickstream", "rejected", "delete", "--reason", "missing_field", stdin="y\n"
    )
    assert by_reason.returncode == 0
    assert by_reason.stdout == "Deleted 1 rejected record (1 missing_field).\n"
    assert run_script("clickstream", "rejected", "delete", "0:2", "--yes").returncode == 0
    assert _rejected(query) == [("not_json", b"not JSON")]
    counters = oracle.check(environment)
    assert (counters["records"], counters["rejected"], counters["removed"]) == (4, 1, 2)

    assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
    wait_until_read(query, 8)
    assert consumer.is_running
    counters = oracle.check(environment)
    assert (counters["duplicates"], counters["rejected"], counters["removed"]) == (2, 3, 2)
    assert run_script("clickstream", "rejected", "delete", "--yes").returncode == 0
    counters = oracle.check(environment)
    assert (counters["rejected"], counters["removed"]) == (0, 5)


@pytest.mark.long
def test_records_are_deleted_only_if_the_question_is_answered_with_yes(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [b"not JSON", b"{", None])
    assert run_script("consumer.py", "--drain").returncode == 0
    no_answer = run_script("clickstream", "rejected", "delete")
    assert (no_answer.returncode, no_answer.stdout) == (2, "")
    question = (
        "Delete 3 rejected records (2 not_json, 1 no_value) and their bytes permanently? [y/N] "
    )
    assert no_answer.stderr.startswith(question)
    assert no_answer.stderr.endswith("would be deleted; add --yes to do it\n")
    for answer in ("\n", "n\n", "yeah\n"):
        refused = run_script("clickstream", "rejected", "delete", stdin=answer)
        assert (refused.returncode, refused.stdout) == (1, "Nothing was deleted.\n")
    assert len(_rejected(query)) == 3
    for deleted in (
        "Deleted 3 rejected records (2 not_json, 1 no_value).",
        "Deleted 0 rejected records.",
    ):
        confirmed = run_script("clickstream", "rejected", "delete", stdin="YES\n")
        assert (confirmed.returncode, confirmed.stdout) == (0, f"{deleted}\n")
    assert oracle.check(environment)["removed"] == 3


def test_values_at_every_limit_are_accepted(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    events = [
        _with(user_id="ü" * 128, event_type="t" * 256),
        _with(user_id=42),
        _with(user_id="42", page_url="ü" * 8_192),
        _with(price=9_999_999_999.9999, quantity=1_000_000, event_type="purchase"),
        _with(price=-1, quantity=-1_000_000, event_type="purchase"),
        _with(timestamp=_ahead(hours=0.9)),
        _with(timestamp="1990-01-01T00:00:00Z"),
        _with(timestamp=1_748_858_400_123),
        _with(timestamp=1_748_858_400.123456),
        _with(extra="\\ \t \n \r \\N \\. \"' \b \u2028 \U0001f600", page_url="\\N"),
        _with(ip="2001:DB8::1", device="mobile", properties={"a": [1, {"b": None}]}),
        _with(page_url="\0" * 8_193, price="1e10", quantity=10**7, ip="no", extra="\ud800"),
    ]
    large = _with(extra="")
    large["extra"] = "x" * ((1 << 20) - len(value_of(large) or b""))
    send_by_visitor(environment, [*events, large])
    assert run_script("consumer.py", "--drain").returncode == 0
    assert _rejected(query) == []
    assert oracle.check(environment)["rows"] == len(events) + 1
    assert query("SELECT count(*) FROM clickstream_events WHERE user_id = '42'") == [(2,)]


def _rejected(query: Query) -> list[tuple[str, bytes | None]]:
    return [(reason, value and bytes(value)) for reason, value in query(REJECTED)]


# == Random bytes and random JSON ================================================================

FIELDS = [*GOOD, "page_url", "price", "quantity", "ip", "ip_address", "success", "device", "x"]
CHARACTERS = st.characters(exclude_categories=())  # lone surrogates too
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(CHARACTERS, max_size=5),
    st.integers(10**20, 10**40), st.datetimes().map(str), st.just("192.0.2.1"),
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(CHARACTERS), inner, max_size=3)
    ),
    max_leaves=5,
)
ALTERED_EVENTS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3).map(
    lambda bad: GOOD | bad
)
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=100),
    JSON.map(json.dumps).map(str.encode),
    ALTERED_EVENTS.map(json.dumps).map(str.encode),
    ALTERED_EVENTS.map(
        lambda bad: json.dumps(bad, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ),
    st.tuples(ALTERED_EVENTS, st.integers(1, 300)).map(
        lambda cut: json.dumps(cut[0]).encode()[: cut[1]]
    ),
)


@examples(max_examples=examples().max_examples // 2)
@given(values=st.lists(VALUES, min_size=1, max_size=20))
def test_random_bytes_and_random_json_end_as_rows_or_as_rejected_records(
    transactions: Connection, values: list[bytes | None]
) -> None:
    """Each record is in one place, rejected ones with their bytes, and valid ones are stored."""
    rule = Rule(timedelta(minutes=30), frozenset(), frozenset())
    (progress, _) = Batches(transactions, rule).store([[GOOD, *values, event("good", 60)], []])
    oracle.check_sessions(transactions, timeout=1800)
    with transactions, transactions.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM clickstream_events")
        (rows,) = only_row(cursor)
        cursor.execute("SELECT count(*) FROM clickstream_events WHERE user_id = 'good'")
        assert only_row(cursor)[0] >= 2
        cursor.execute(REJECTED)
        rejected = cursor.fetchall()
    assert progress.records == len(values) + 2 == rows + progress.duplicates + progress.rejected
    assert progress.rejected == len(rejected)
    assert all((value and bytes(value)) in values for _, value in rejected)
