"""The Flink job: the same sessions as the consumer's, dead letters, late events, and its end.

One run of the job serves them all, because Flink takes 20 s of a core to start.
"""

import csv
import gzip
import importlib.util
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from random import Random
from signal import SIGINT
from typing import Any
from uuid import UUID, uuid5

import pytest

from clickstream.errors import UserError
from clickstream.flink.java_runtime import find_java
from tests.services.databases import Query
from tests.services.records import event, random_events, send
from tests.services.scripts import PROJECT, RunScript, StartScript
from tests.services.waiting import eventually

REAL_LOG = PROJECT / "tests" / "data" / "apache_logs.events.csv.gz"
# The last one has no records: it must not hold back the watermark.
PARTITIONS = 4
USED_PARTITIONS = 3
# Less than the minute by which the watermark is behind.
DISORDER = timedelta(seconds=50)
# Flink takes a partition as idle after one minute.
SECONDS = 240.0
# For a short run, the optimizing compiler takes more time than it saves.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

COMMON_COLUMNS = (
    "event_id::text, event_time, event_type, user_id, page_url, referrer, user_agent,"
    " host(ip_address::inet), device_type, country, city, success, product_id, product_category,"
    " price, quantity, order_id, search_query, element_id, viewport_size, article_id,"
    " article_category, visit_id, engaged_ms"
)
COUNT_DIFFERENT_EVENTS = f"""
    SELECT count(*) FROM (
        (SELECT {COMMON_COLUMNS} FROM clickstream_events
         EXCEPT SELECT {COMMON_COLUMNS} FROM flink_events)
        UNION ALL
        (SELECT {COMMON_COLUMNS} FROM flink_events WHERE user_id <> 'late'
         EXCEPT SELECT {COMMON_COLUMNS} FROM clickstream_events)) AS different
"""
COUNT_FLINK_SESSIONS = "SELECT count(*) FROM flink_sessions"
COUNT_DEAD_LETTERS = "SELECT count(*) FROM flink_dead_letters"
COUNT_LATE_EVENTS = "SELECT count(*) FROM flink_late_events WHERE user_id = 'late'"
CLOSED_SESSIONS = """
    SELECT count(*) FROM session_metrics WHERE last_event_timestamp < now() - interval '2 hours'
"""

VALID = event("careless", 0, event_id="0199f7a2-6f6d-7cc1-8d0e-6ddf2f6a2c11") | {
    "timestamp": "2026-01-02T03:04:05.006Z"
}
DEAD_LETTERS: list[tuple[str, Any]] = [
    ("not_json", b"{'no': json}\0"),
    ("not_json", b"\xff\xfe"),
    ("not_json", b"42"),
    ("not_json", json.dumps([VALID]).encode()),
    ("not_json", None),
    *(("missing_field", VALID | {name: None}) for name in ("event_id", "event_type", "timestamp")),
    ("missing_field", VALID | {"user_id": "  "}),
    ("bad_timestamp", VALID | {"timestamp": "yesterday"}),
    ("bad_timestamp", VALID | {"timestamp": "2026-02-30T10:00:00Z"}),
    ("bad_timestamp", VALID | {"timestamp": "2026-02-03T10:60:00Z"}),
    ("bad_timestamp", VALID | {"timestamp": "2026-02-03T10:00:00+01:00"}),
    ("bad_timestamp", VALID | {"timestamp": 1_767_322_985}),
    ("timestamp_out_of_range", VALID | {"timestamp": "1989-12-31T23:59:59Z"}),
    ("timestamp_out_of_range", VALID | {"timestamp": "2999-01-01T00:00:00Z"}),
    ("bad_event_id", VALID | {"event_id": "request-7"}),
    ("bad_text", VALID | {"page_url": "/a\0b"}),
    ("bad_text", VALID | {"user_id": "x" * 257}),
    ("bad_number", VALID | {"price": 10_000_000_000}),
    ("bad_number", VALID | {"price": "cheap"}),
    ("bad_number", VALID | {"quantity": 1.5}),
    ("bad_number", VALID | {"quantity": 1_000_001}),
    ("bad_number", VALID | {"engaged_ms": -1}),
    ("bad_number", VALID | {"engaged_ms": 86_400_001}),
    ("bad_boolean", VALID | {"success": "maybe"}),
    ("bad_address", VALID | {"ip_address": "192.0.2.256"}),
    ("bad_address", VALID | {"ip_address": "2001:db8::1::2"}),
]


@pytest.fixture(scope="module", autouse=True)
def _flink_is_installed() -> None:
    """Skip the tests if this machine lacks a part of Flink."""
    try:
        find_java()
    except UserError as error:
        pytest.skip(str(error))
    packages = ("py4j", "pyflink")  # apache-flink-libraries is the folder pyflink
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    missing += [] if shutil.which("mvn") else ["mvn"]
    if missing:
        refuse = pytest.fail if "CI" in os.environ else pytest.skip
        refuse(f"Flink needs {', '.join(missing)}; see flink/README.md")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("partitions", [PARTITIONS], indirect=True)
def test_flink_computes_the_sessions_of_the_consumer(
    environment: dict[str, str],
    run_script: RunScript,
    start_script: StartScript,
    query: Query,
) -> None:
    """The input: a real log, random events, simulated traffic, in disorder and with duplicates."""
    now = datetime.now(UTC)
    random = disordered(random_events(2_000, 60, seed=5))
    send_to_used_partitions(environment, [*real_log(), *random, *simulated(run_script, now)], now)
    assert run_script("consumer.py", "--drain").returncode == 0
    ((closed,),) = query(CLOSED_SESSIONS)
    assert closed > 3_000

    flink = start_script("clickstream", "flink", "run", JAVA_TOOL_OPTIONS=JAVA_OPTIONS)
    flink.wait_for_output("the job runs", SECONDS)
    eventually(lambda: query(COUNT_FLINK_SESSIONS) == [(closed,)], SECONDS)
    late = {**event("late", 0), "timestamp": iso(now - timedelta(hours=5))}
    send(environment, [late])
    for _, content in DEAD_LETTERS:
        send(environment, [content])
    eventually(lambda: query(COUNT_DEAD_LETTERS) == [(len(DEAD_LETTERS),)])
    eventually(
        lambda: query("SELECT count(*) FROM flink_late_events WHERE user_id = 'late'") == [(1,)]
    )
    eventually(lambda: query(COUNT_DIFFERENT_EVENTS) == [(0,)])
    flink.send_signal(SIGINT)
    assert flink.wait(SECONDS) == 0, flink.output
    assert "Rows: " in flink.output

    compared = run_script("clickstream", "flink", "compare")
    assert compared.stdout.endswith("Every session is the same.\n"), compared.stdout
    assert compared.returncode == 0
    reasons = query("SELECT reason FROM flink_dead_letters ORDER BY kafka_offset")
    assert [reason for (reason,) in reasons] == [reason for reason, _ in DEAD_LETTERS]
    assert query("SELECT user_id FROM flink_events WHERE user_id = 'late'") == [("late",)]
    assert query("SELECT count(*) FROM flink_sessions WHERE user_id = 'late'") == [(0,)]


def send_to_used_partitions(environment: dict[str, str], events: list[Any], now: datetime) -> None:
    """Send events in order, and at the end of each partition one that closes the sessions."""
    for partition in range(USED_PARTITIONS):
        share = [
            each for each in events if sum(each["user_id"].encode()) % USED_PARTITIONS == partition
        ]
        closing = event(f"closing-{partition}", 0) | {"timestamp": iso(now - timedelta(hours=1))}
        send(environment, [*share, closing], partition)


def real_log() -> list[Any]:
    """Return the 10,000 requests of the real log as events, in the order of arrival."""
    with gzip.open(REAL_LOG, "rt", encoding="utf-8", newline="") as file:
        return [
            {
                "event_id": str(uuid5(UUID(int=0), row["seq"])),
                "event_type": row["event"],
                "timestamp": iso(datetime.fromtimestamp(int(row["ts_ms"]) / 1000, UTC)),
                "user_id": row["user_id"],
                "page_url": row["page"],
                "user_agent": row["ua"],
            }
            for row in csv.DictReader(file)
        ]


def simulated(run_script: RunScript, now: datetime) -> list[Any]:
    """Return events of a simulated past that ends three hours before now."""
    until = iso(now - timedelta(hours=3))
    options = ("--backfill", "9h", "--until", until, "--seed", "8", "--duplicate", "0.05")
    done = run_script("producer.py", "--dry-run", "--events", "3000", *options)
    return disordered([json.loads(line) for line in done.stdout.splitlines()])


def disordered(events: list[Any]) -> list[Any]:
    """Return events in an order in which each is at most DISORDER behind the newest before it.

    Their times are as event.schema.json describes them.
    """
    chance = Random(9)

    def arrival(each: Any) -> datetime:
        return datetime.fromisoformat(each["timestamp"]) + chance.random() * DISORDER

    strict = [each | {"timestamp": each["timestamp"].replace("+00:00", "Z")} for each in events]
    return sorted(strict, key=arrival)


def iso(time: datetime) -> str:
    """Return a time with milliseconds, as event.schema.json describes it."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
