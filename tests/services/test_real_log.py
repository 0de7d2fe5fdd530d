"""A real web log gives its published sessions, in any order of replay."""

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.services import oracle
from tests.services.databases import Query
from tests.services.scripts import PROJECT, RunScript

DATA = PROJECT / "tests" / "data"
SESSIONS = """
    SELECT user_id, (extract(epoch FROM first_event_timestamp) * 1000)::bigint,
           (extract(epoch FROM last_event_timestamp) * 1000)::bigint, total_events
    FROM session_metrics
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "order", ["arrival", "shuffled", pytest.param("reversed", marks=pytest.mark.slow)]
)
def test_the_real_log_gives_its_reference_sessions(
    order: str,
    environment: dict[str, str],
    run_script: RunScript,
    query: Query,
    tmp_path: Path,
) -> None:
    """10,000 requests, 3,052 sessions."""
    lines = [json.dumps(_event(row)) for row in _rows("apache_logs.events.csv.gz")]
    if order == "shuffled":
        Random(1).shuffle(lines)
    elif order == "reversed":
        lines.reverse()
    file = tmp_path / "log.ndjson"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert run_script("producer.py", "--replay", str(file)).returncode == 0
    assert run_script("consumer.py", "--drain", CONSUMER_BATCH_EVENTS="1000").returncode == 0
    assert Counter(query(SESSIONS)) == _reference_sessions()
    assert oracle.check(environment)["rows"] == len(lines) == 10_000


def _event(row: dict[str, str]) -> dict[str, Any]:
    return {
        "event_id": f"request-{row['seq']}",
        "event_type": row["event"],
        "timestamp": int(row["ts_ms"]),
        "user_id": row["user_id"],
        "page_url": row["page"],
        "status": int(row["status"]),
        "ua": row["ua"],
    }


def _reference_sessions() -> Counter[tuple[Any, ...]]:
    return Counter(
        (row["user_id"], int(row["start_ms"]), int(row["end_ms"]), int(row["events"]))
        for row in _rows("apache_logs.30m.inclusive.csv.gz")
    )


def _rows(name: str) -> list[dict[str, str]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
