"""Recorded events through the real producer, and the events that a consumer stores of them."""

import gzip
import json
import re
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from tests.services.scripts import RunScript, command, plain_environment
from tests.services.topic import drift, records, values
from tests.services.waiting import eventually
from tests.unit.recordings import FORMATS, write

START = 1_735_689_600
LINES = [
    b'{"user_id": %d, "event_type": "click", "timestamp": %d}' % (n % 7, START + n)
    for n in range(99)
]
STORED = """
    SELECT user_id, event_type, product_id, order_id, price::text, properties
    FROM clickstream_events ORDER BY event_time
"""
SHOP = [
    {"timestamp": "1735689600000", "visitorid": "257597", "event": "view", "itemid": "355908"},
    {"timestamp": "1735689600001", "visitorid": "992329", "event": "view", "itemid": "248676"},
    {
        "timestamp": "1735689600002",
        "visitorid": "257597",
        "event": "transaction",
        "itemid": "355908",
        "transactionid": "4000",
        "amount": "19.99",
    },
]
SHOP_NAMES = (
    *("--map", "user_id=visitorid; event_type=event; product_id=itemid; "
      "order_id=transactionid; price=amount"),
    *("--map-types", "page_view=view; purchase=transaction"),
)  # fmt: skip


def stored(settings: Settings) -> list[Any]:
    with closing(connect(settings, application="test")) as connection, connection:
        cursor = connection.cursor()
        cursor.execute(STORED)
        return cursor.fetchall()


def test_a_file_is_sent_line_by_line(
    run_script: RunScript, environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join([*LINES, b"not json"])))
    sent = run_script("producer.py", "--replay", str(path))
    assert sent.returncode == 0, sent.stderr
    assert "1 of 100 lines is no event" in sent.stderr
    assert "(the first is line 100: The value is not JSON" in sent.stderr
    found = list(records(environment))
    assert sorted(record.value for record in found) == sorted([*LINES, b"not json"])
    assert {record.key for record in found if record.value != b"not json"} == {
        str(n).encode() for n in range(7)
    }


@pytest.mark.parametrize("name", FORMATS)
def test_a_shop_export_in_any_format_is_stored_under_our_names(
    run_script: RunScript,
    environment: dict[str, str],
    settings: Settings,
    tmp_path: Path,
    name: str,
) -> None:
    suffix, text = FORMATS[name]
    path = write(tmp_path / f"export{suffix}", text(SHOP), crlf=True, encoding="utf-8-sig")
    sent = run_script("producer.py", "--replay", str(path), *SHOP_NAMES, "--strict")
    assert sent.returncode == 0, sent.stderr
    assert "no event" not in sent.stderr
    assert {record.key for record in records(environment)} == {b"257597", b"992329"}
    drained = run_script("consumer.py", "--drain")
    assert drained.returncode == 0, drained.stderr
    view, transaction = {"original_event_type": "view"}, {"original_event_type": "transaction"}
    assert stored(settings) == [
        ("257597", "page_view", "355908", None, None, view),
        ("992329", "page_view", "248676", None, None, view),
        ("257597", "purchase", "355908", "4000", "19.9900", transaction),
    ]


def test_the_consumer_rejects_exactly_the_events_that_the_replay_reports(
    run_script: RunScript, settings: Settings, tmp_path: Path
) -> None:
    bad = [b"[]", b"\xff", b'{"user_id": 1}', b'{"visitorid": 1}', b'{"user_id": {}}', b"nothing"]
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join([*LINES, *bad]))
    sent = run_script("producer.py", "--replay", str(path))
    assert "6 of 105 lines are no events" in sent.stderr
    assert "see --map" in sent.stderr
    said = {reason: int(count) for count, reason in re.findall(r"(\d+) (\w+) \(the", sent.stderr)}
    assert run_script("consumer.py", "--drain").returncode == 0
    with closing(connect(settings, application="test")) as connection, connection:
        cursor = connection.cursor()
        cursor.execute("SELECT reason, count(*)::int FROM rejected_events GROUP BY reason")
        assert dict(cursor.fetchall()) == said
    assert len(stored(settings)) == len(LINES)


def test_a_strict_replay_sends_nothing_of_a_bad_line_and_exits_with_1(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    text = b"\n".join([*LINES[:10], b"not json", *LINES[10:]]).decode()
    sent = run_script("producer.py", "--replay", "-", "--strict", stdin=text)
    assert sent.returncode == 1
    assert "error: line 11 of standard input is no event" in sent.stderr
    assert sorted(values(environment)) == sorted(LINES[:10])


def test_an_array_is_sent_element_by_element_and_an_array_in_a_line_as_it_is(
    run_script: RunScript, environment: dict[str, str], tmp_path: Path
) -> None:
    events = [json.loads(line) for line in LINES[:3]]
    write(tmp_path / "events.json", json.dumps(events, indent=4))
    write(tmp_path / "lines.ndjson", json.dumps(events))
    assert run_script("producer.py", "--replay", "events.json").returncode == 0
    assert run_script("producer.py", "--replay", "lines.ndjson").returncode == 0
    found = [json.loads(value) for value in values(environment)]
    assert events in found
    assert all(event in found for event in events)
    assert len(found) == 4


def test_a_file_that_ends_in_the_middle_is_reported_after_its_first_events_are_sent(
    run_script: RunScript, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "events.json").write_bytes(b"[" + LINES[0] + b"," + LINES[1][:20])
    sent = run_script("producer.py", "--replay", "events.json")
    assert sent.returncode == 1
    assert "error: cannot read events.json: element 2 of the array: not JSON" in sent.stderr
    assert values(environment) == LINES[:1]


def test_a_record_that_the_client_refuses_is_counted_and_the_exit_status_is_1(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    too_large = json.dumps({"note": "x" * 17_000_000})
    sent = run_script("producer.py", "--replay", "-", stdin=f"{{}}\n{too_large}\n{{}}\n")
    assert sent.returncode == 1
    assert "sent 3, acknowledged 2, failed 1" in sent.stderr
    assert "not acknowledged: 1 records" in sent.stderr
    assert "value_too_large (the first is line 2: It has more than" in sent.stderr
    assert values(environment) == [b"{}", b"{}"]


def test_a_dry_run_prints_the_lines_and_says_printed(
    run_script: RunScript, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "events.ndjson").write_bytes(b"\n".join([*LINES, b"not json"]))
    printed = run_script("producer.py", "--replay", "events.ndjson", "--dry-run")
    assert printed.returncode == 0
    assert printed.stdout.encode().splitlines() == [*LINES, b"not json"]
    assert "INFO printed 100\n" in printed.stderr
    assert "1 of 100 lines is no event" in printed.stderr
    assert "acknowledged" not in printed.stderr
    assert values(environment) == []


def test_a_pipe_that_stays_open_does_not_keep_the_producer_from_stopping(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        command("producer.py", "--replay", "-"),
        env=plain_environment(environment),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as script:
        assert script.stdin
        script.stdin.write(LINES[0] + b"\n")
        script.stdin.flush()
        eventually(lambda: values(environment) == LINES[:1])
        script.send_signal(signal.SIGINT)
        assert script.wait() == 0
        script.stdin.close()


def test_a_replay_with_a_speed_follows_the_recorded_times(
    run_script: RunScript, environment: dict[str, str]
) -> None:
    # Lines without a usable time must not make it wait.
    time = b"%d" % START
    future, unset = (LINES[0].replace(time, other) for other in (b'"9999-12-31T00:00:00Z"', b"0"))
    lines = [b"not json", unset, *LINES[:50], future, b"[]", *LINES[50:]]
    sent = run_script(
        "producer.py", "--replay", "-", "--speed", "50", stdin=b"\n".join(lines).decode()
    )
    assert sent.returncode == 0, sent.stderr
    found = {record.value: record.timestamp for record in records(environment)}
    assert set(found) == set(lines)
    due = [20 * seconds for seconds in range(len(LINES))]
    assert abs(drift([found[line] for line in LINES], due)) < 250
    assert found[LINES[49]] <= found[future] <= found[LINES[50]]
