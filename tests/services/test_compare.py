"""The comparison with a truth file finds every difference, and none if there is none."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clickstream.admin.erase_visitors import erase
from clickstream.admin.retain import retain
from clickstream.clients.postgres import connect
from clickstream.errors import UserError
from clickstream.settings import Settings
from clickstream.verify.differences import KEPT_DIFFERENCES, Differences
from clickstream.verify.truth_comparison import ADDED_METRICS, compare_with_truth
from clickstream.verify.visit_comparison import COMPARED_COLUMNS
from tests.services.databases import Query
from tests.services.scripts import RunScript
from tests.truth_layouts import TRUTH_LAYOUTS

Compare = Callable[[], Differences]

HEAD = b'{"version":1,"rule":{"timeout_seconds":1800,"start_events":[],"end_events":[]},'
HEAD += b'"events":0,"duplicates":0,"rejected":{},"sessions":[\n'
# A visitor of recent events, whom no rejected record names.
SELECT_VISITOR = """
    SELECT user_id FROM session_metrics
    WHERE convert_to(user_id, 'UTF8') NOT IN (SELECT key FROM rejected_events)
    ORDER BY last_event_timestamp DESC LIMIT 1
"""
TRAFFIC = ("--events", "600", "--backfill", "1d", "--seed", "3", "--duplicate", "0.02")


@pytest.fixture
def truth(run_script: RunScript, tmp_path: Path) -> Path:
    """A truth file, and its traffic in the tables."""
    path = tmp_path / "truth.json"
    sent = run_script("producer.py", *TRAFFIC, "--malformed", "0.02", "--truth", str(path))
    assert sent.returncode == 0, sent.stderr
    assert run_script("consumer.py", "--drain").returncode == 0
    return path


@pytest.fixture
def differences(settings: Settings, truth: Path) -> Compare:
    """Compare the tables with the truth file."""

    def run() -> Differences:
        with closing(connect(settings, application="test")) as connection:
            return compare_with_truth(connection, truth).differences

    return run


def test_each_difference_is_one_sentence_and_counted_once(
    differences: Compare, query: Query, truth: Path
) -> None:
    assert differences() == Differences(0, [])
    first, second, third = json.loads(truth.read_text(encoding="utf-8"))["sessions"][:3]
    _check_visits(differences, query, truth)
    one = "WHERE first_event_id = %s"
    query(f"UPDATE session_metrics SET total_revenue = 7, is_bounce = NOT is_bounce {one}",
          [first["first_event_id"]])  # fmt: skip
    query(f"DELETE FROM session_metrics {one}", [second["first_event_id"]])
    query(f"UPDATE session_metrics SET user_id = 'somebody' {one}", [third["first_event_id"]])
    query("DELETE FROM clickstream_events WHERE event_id = %s", [first["first_event_id"]])
    query("UPDATE stream_positions SET duplicates = duplicates + 1 WHERE partition = 0")
    query("DELETE FROM rejected_events WHERE reason = 'not_json'")
    query("UPDATE session_rule SET timeout_seconds = 60, end_events = ARRAY['logout']")
    counted = differences()
    found = "\n".join(counted.first)
    assert "the truth follows a timeout of 1800 s, the tables a timeout of 60 s" in found
    assert "events: 600 expected, 599 found" in found
    assert "duplicates: " in found
    assert "rejected as not_json: 1 expected, 0 found" in found
    assert f"session of {first['user_id']} from " in found
    assert "total_revenue is 7.0000, not " in found
    assert "is_bounce is " in found
    assert f"session of {second['user_id']} from " in found
    assert found.count(": missing") == 2
    assert "session of somebody from " in found
    assert found.count(": not in the truth") == 1
    assert counted.number == len(found.splitlines()) == 8


def _check_visits(differences: Compare, query: Query, truth: Path) -> None:
    """Change sources and bots, and check that each session with another one is a difference."""
    sessions = json.loads(truth.read_text(encoding="utf-8"))["sessions"]
    assert {each["session_number"] for each in sessions} >= {1, 2}
    searched = [
        each for each in sessions if (each["source"], each["medium"]) == ("google", "organic")
    ]
    engine = "UPDATE source_categories SET name = %s WHERE source = 'google.*'"
    query(engine, ["elgoog"])
    counted = differences()
    assert counted.number == len(searched) > 0
    assert all('source is "elgoog", not "google"' in each for each in counted.first)
    query(engine, ["google"])
    agent = sessions[0]["user_agent"]
    query("DELETE FROM user_agents")
    query("INSERT INTO user_agents (user_agent, bot_reason, rules_version) VALUES (%s, 'x', '')",
          [agent])  # fmt: skip
    counted = differences()
    assert counted.number == sum(each["user_agent"] == agent for each in sessions)
    assert all(f"of a person, but marked as a bot: {agent}" in each for each in counted.first)
    query("DELETE FROM user_agents")


def test_a_truth_file_without_the_values_of_this_version_is_compared_without_them(
    differences: Compare, query: Query, truth: Path
) -> None:
    written = json.loads(truth.read_text(encoding="utf-8"))
    added = {*COMPARED_COLUMNS, *ADDED_METRICS, "is_bot"}
    written["sessions"] = [
        {name: value for name, value in each.items() if name not in added}
        for each in written["sessions"]
    ]
    truth.write_text(json.dumps(written), encoding="utf-8")
    query("UPDATE source_categories SET name = 'elgoog' WHERE source = 'google.*'")
    assert differences() == Differences(0, [])
    query("UPDATE session_metrics SET orders_count = 99")
    assert differences().number == len(written["sessions"])


def test_events_that_the_truth_file_does_not_count_are_named(
    differences: Compare, run_script: RunScript
) -> None:
    assert run_script("producer.py", "--backfill", "1h", "--events", "30").returncode == 0
    assert run_script("consumer.py", "--drain").returncode == 0
    assert differences().first[0] == (
        "events: 600 expected, 630 found: the database also has 30 events that the truth file does "
        "not count"
    )


def test_all_differences_are_counted_and_the_first_are_listed(
    settings: Settings, tmp_path: Path
) -> None:
    sessions = [
        {"user_id": f"{number:03d}", "first_event_timestamp": "2025-01-31T00:00:00Z"}
        for number in range(80)
    ]
    path = tmp_path / "truth.json"
    path.write_bytes(HEAD + b",\n".join(json.dumps(each).encode() for each in sessions) + b"\n]}")
    with closing(connect(settings, application="test")) as connection:
        found = compare_with_truth(connection, path).differences
    assert found.number == 80
    assert len(found.first) == KEPT_DIFFERENCES
    assert found.first[0].startswith("session of 000 from 2025-01-31T00:00:00+00:00")
    assert found.lines()[-2:] == ["... and 60 more", "80 differences found."]


def test_the_layout_of_the_truth_file_and_the_order_of_boundary_types_do_not_matter(
    differences: Compare, query: Query, truth: Path
) -> None:
    written = json.loads(truth.read_text(encoding="utf-8"))
    written["rule"]["end_events"] = ["share", "logout"]
    query("UPDATE session_rule SET end_events = ARRAY['logout', 'share']")
    for orders, number in (("orders_count", 0), ("99", len(written["sessions"]))):
        query(f"UPDATE session_metrics SET orders_count = {orders}")
        for name, layout in TRUTH_LAYOUTS.items():
            truth.write_text(layout(written), encoding="utf-8")
            assert differences().number == number, name


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{}",
        HEAD + b'{"user_id":"a"}\n',
        HEAD + b'{"user_id":"a","first_event_timestamp":"soon"}\n]}\n',
        HEAD + b'{"user_id":"a\\u0000"}\n]}\n',
    ],
)
def test_a_file_that_is_not_a_complete_truth_file_is_refused(
    settings: Settings, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "some.json"
    if content is not None:
        path.write_bytes(content)
    with (
        closing(connect(settings, application="test")) as connection,
        pytest.raises(UserError, match=r"some\.json"),
    ):
        compare_with_truth(connection, path)


def test_sessions_that_are_not_kept_are_left_out_and_counted(
    settings: Settings, truth: Path, query: Query
) -> None:
    ((visitor,),) = query(SELECT_VISITOR)
    with closing(connect(settings, application="test")) as connection:
        erased = erase(connection, {visitor}, truth.with_name("journal"))
        kept_from = datetime.now(UTC) - timedelta(hours=12)
        removed = retain(connection, kept_from, lambda _found, _gone: None)
        found = compare_with_truth(connection, truth)
    assert min(erased.sessions, removed.sessions) > 0
    assert found.not_kept == erased.sessions + removed.sessions
    assert found.differences == Differences(0, [])
