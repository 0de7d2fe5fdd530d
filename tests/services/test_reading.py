"""The reading of records: stored with the first batch, the same for all consumers, and changed."""

import subprocess
from typing import Any

import pytest

from tests.services import oracle
from tests.services.databases import Query
from tests.services.records import event, send, value_of, wait_until_read
from tests.services.scripts import RunScript, StartScript

FIELDS = "user_id=userId|anonymousId; event_type=event; page_url=context.page.url"
TYPES = "page_view=Page Viewed; purchase=Order Completed"
READING = "SELECT event_fields, event_types, min_event_time::text FROM record_reading"
REPAIRED = "SELECT event_type, repaired, properties FROM clickstream_events ORDER BY event_time"


def other_names(user: str, seconds: float, name: str = "Page Viewed") -> Any:
    """Return an event of a tag manager."""
    body = event(user, seconds)
    body |= {"anonymousId": body.pop("user_id"), "event": name, "userId": None}
    del body["event_type"]
    return body | {"context": {"page": {"url": f"/{seconds}"}}}


def test_records_of_other_names_become_events_and_sessions(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [other_names("v", 0), other_names("v", 60, "Order Completed")])
    result = run_script("consumer.py", "--drain", EVENT_FIELDS=FIELDS, EVENT_TYPES=TYPES)
    assert result.returncode == 0, result.stderr
    oracle.check(environment)
    assert query("SELECT user_id, event_type_counts, unique_pages FROM session_metrics") == [
        ("v", {"page_view": 1, "purchase": 1}, ["/0", "/60"])
    ]
    assert query("SELECT properties ->> 'event_type' FROM clickstream_events ORDER BY 1") == [
        ("Order Completed",),
        ("Page Viewed",),
    ]


def test_a_repaired_event_names_its_fields_and_keeps_their_values(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    sent = event("v", 0, "purchase", price="1.299,00", quantity="2", extra="a\0")
    send(environment, [sent, event("v", 1)])
    assert run_script("consumer.py", "--drain").returncode == 0
    assert query(REPAIRED) == [
        ("purchase", ["price", "properties"], {"price": "1.299,00", "extra": "a\ufffd"}),
        ("page_view", None, None),
    ]


@pytest.mark.long
def test_a_consumer_with_another_reading_stops_until_it_is_accepted(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    send(environment, [event("v", 0)])
    assert run_script("consumer.py", "--drain").returncode == 0
    stored = query(READING)
    shown = {
        "EVENT_FIELDS": ("page_url=url", "EVENT_FIELDS='page_url=url'"),
        "EVENT_TYPES": ("page_view=view", "EVENT_TYPES='page_view=view'"),
        "MIN_EVENT_TIME": ("1999-12-31", "MIN_EVENT_TIME=1999-12-31T00:00:00+00:00"),
    }
    for name, (value, words) in shown.items():
        check_refused(run_script("consumer.py", "--drain", **{name: value}), words)
    changed = {name: value for name, (value, _) in shown.items()}
    retried = run_script("clickstream", "rejected", "retry", **changed)
    check_refused(retried, *(words for _, words in shown.values()))
    assert query(READING) == stored

    assert run_script("create_schema.py", "--reading", **changed).returncode == 0
    assert all(new != old for new, old in zip(query(READING)[0], stored[0], strict=True))
    assert run_script("consumer.py", "--drain", **changed).returncode == 0
    assert run_script("consumer.py", "--drain").returncode == 1


def check_refused(refused: subprocess.CompletedProcess[str], *shown: str) -> None:
    """Check that a script refused a reading, showed these words, and named the way out."""
    assert refused.returncode == 1
    assert all(words in refused.stderr for words in shown)
    assert "create_schema.py --reading" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_settings_with_the_same_meaning_are_the_same_reading(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("v", 0)])
    first = {"EVENT_FIELDS": "page_url=url; user_id=id", "EVENT_TYPES": "click=a|b"}
    same = {"EVENT_FIELDS": "user_id = id;page_url=url;", "EVENT_TYPES": "click=b|a"}
    assert run_script("consumer.py", "--drain", **first).returncode == 0
    same |= {"MIN_EVENT_TIME": "1990-01-01T01:00+01:00"}
    assert run_script("consumer.py", "--drain", **same).returncode == 0


def test_a_running_consumer_stops_when_another_reading_is_accepted(
    environment: dict[str, str], start_script: StartScript, run_script: RunScript, query: Query
) -> None:
    consumer = start_script("consumer.py")
    send(environment, [event("v", 0)])
    wait_until_read(query, 1)
    accepted = run_script("create_schema.py", "--reading", EVENT_FIELDS="page_url=url")
    assert accepted.returncode == 0, accepted.stderr
    send(environment, [event("v", 60)])
    assert consumer.wait() == 1
    assert "EVENT_FIELDS='page_url=url'" in consumer.output
    assert query("SELECT count(*) FROM clickstream_events") == [(1,)]


def test_positions_reset_asks_after_a_change_of_names_that_identify_an_event(
    environment: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("v", 0)])
    assert run_script("consumer.py", "--drain").returncode == 0
    reset = ("clickstream", "positions", "reset", "--to", "earliest")
    for fields, consequence in (
        ("price=Preis", "stored events may be rejected as event_id_conflict"),
        ("price=Preis; user_id=uid", "records read before may be stored twice"),
    ):
        assert run_script("create_schema.py", "--reading", EVENT_FIELDS=fields).returncode == 0
        refused = run_script(*reset, EVENT_FIELDS=fields)
        assert refused.returncode == 2
        assert consequence in refused.stderr
        assert fields.split("=")[0] in refused.stderr
    assert run_script(*reset, "--yes", EVENT_FIELDS=fields).returncode == 0


def test_positions_reset_does_not_ask_after_a_change_of_other_names(
    environment: dict[str, str], run_script: RunScript
) -> None:
    reset = ("clickstream", "positions", "reset", "--to", "earliest")
    assert run_script("create_schema.py", "--reading", EVENT_FIELDS="user_id=a").returncode == 0
    assert run_script("create_schema.py", "--reading", EVENT_FIELDS="").returncode == 0
    send(environment, [event("v", 0)])
    assert run_script("consumer.py", "--drain").returncode == 0
    changed = {"EVENT_FIELDS": "page_url=url", "EVENT_TYPES": "click=c"}
    assert run_script("create_schema.py", "--reading", **changed).returncode == 0
    assert run_script(*reset, **changed).returncode == 0


def test_settings_of_another_form_are_refused_in_one_sentence(run_script: RunScript) -> None:
    result = run_script("consumer.py", EVENT_FIELDS="visitor=a", EVENT_TYPES="click")
    assert result.returncode == 2
    assert "EVENT_FIELDS names the field 'visitor'" in result.stderr
    assert "EVENT_TYPES must be a list" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_framed_record_and_its_redelivery_are_one_event(
    environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    body = event("v", 0)
    send(environment, [b"\0\0\0\0\7" + (value_of(body) or b""), body])
    assert run_script("consumer.py", "--drain").returncode == 0
    assert query("SELECT count(*) FROM clickstream_events") == [(1,)]
    oracle.check(environment)
