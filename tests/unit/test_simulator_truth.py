"""The truth file is compared with a second, simpler computation from the same events."""

import json
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from clickstream.errors import UserError
from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, SimulatedEvent, timestamp
from clickstream.simulator.identities import BOTS
from clickstream.simulator.truth import TruthWriter
from tests.unit.simulated import by_visit, live


def writer(path: Path, settings: Settings) -> TruthWriter:
    return TruthWriter(
        path,
        timeout=settings.session_timeout_seconds,
        start_events=settings.session_start_events,
        end_events=settings.session_end_events,
    )


def write(path: Path, events: list[SimulatedEvent], **rule: str) -> dict[str, Any]:
    truth = writer(path, Settings.from_mapping(rule))
    assert list(truth.observe(events)) == events
    truth.write(duplicates=3, rejected={"not_json": 2})
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def sessions(
    events: list[SimulatedEvent], timeout: int, starts: str, ends: str
) -> list[list[SimulatedEvent]]:
    """Return the sessions of all visitors by the session rule."""
    visitors = defaultdict(list)
    for event in events:
        visitors[event.payload["user_id"]].append(event)
    found = []
    for history in visitors.values():
        history.sort(key=lambda event: (event.time, event.payload["event_id"]))
        current = [history[0]]
        for before, event in pairwise(history):
            apart = event.time - before.time > timeout * SECOND
            kinds = before.payload["event_type"], event.payload["event_type"]
            if apart or kinds[1] == starts or kinds[0] == ends:
                found.append(current)
                current = []
            current.append(event)
        found.append(current)
    return found


def metrics(session: list[SimulatedEvent]) -> dict[str, Any]:
    payloads = [event.payload for event in session]
    kinds = [payload["event_type"] for payload in payloads]
    bought = [payload for payload in payloads if payload["event_type"] == "purchase"]
    pages = {payload["page_url"] for payload in payloads}
    viewed = {
        payload["product_id"]
        for payload in payloads
        if "product_id" in payload
        and payload["event_type"] not in ("purchase", "remove_from_cart", "share")
    }
    referrers = {payload["referrer"] for payload in payloads if "referrer" in payload}
    engaged = [payload["engaged_ms"] for payload in payloads if "engaged_ms" in payload]
    revenue = sum(Decimal(str(line["price"])) * line["quantity"] for line in bought)
    return {
        "user_id": payloads[0]["user_id"],
        "first_event_timestamp": payloads[0]["timestamp"],
        "last_event_timestamp": payloads[-1]["timestamp"],
        "first_event_id": payloads[0]["event_id"],
        "last_event_id": payloads[-1]["event_id"],
        "total_events": len(payloads),
        "event_type_counts": {kind: kinds.count(kind) for kind in kinds},
        "unique_pages": sorted(pages)[:1000],
        "unique_pages_count": len(pages),
        "landing_page": payloads[0]["page_url"],
        "entry_referrer": payloads[0].get("referrer"),
        "exit_page": payloads[-1]["page_url"],
        "total_revenue": f"{revenue:.4f}",
        "orders_count": len({line["order_id"] for line in bought}),
        "products_viewed": sorted(viewed)[:1000],
        "products_viewed_count": len(viewed),
        "search_queries": sorted(p["search_query"] for p in payloads if "search_query" in p),
        "referrers": sorted(referrers),
        "unique_referrers_count": len(referrers),
        **{k: payloads[0][k] for k in ("user_agent", "ip_address", "device_type", "country")},
        "is_bounce": session[-1].time - session[0].time <= 10 * SECOND
        and not bought
        and kinds.count("page_view") < 2,
        "engaged_seconds": f"{sum(engaged) / 1_000:.3f}" if engaged else None,
        **session[0].source._asdict(),
        "is_bot": any(agent.user_agent == payloads[0]["user_agent"] for agent in BOTS),
    }


def distinct_queries(session: dict[str, Any]) -> dict[str, Any]:
    """Return the session with each search query once."""
    return {**session, "search_queries": sorted(set(session["search_queries"]))}


@pytest.mark.parametrize(
    ("timeout", "starts", "ends"),
    [
        (1800, "", ""),
        (60, "", ""),
        (1800, "login", ""),
        (1800, "", "logout"),
        (5, "login", "share"),
    ],
)
def test_sessions_and_metrics_agree_with_a_second_computation(
    tmp_path: Path, timeout: int, starts: str, ends: str
) -> None:
    events = live(15_000, active_visitors=40)
    found = write(
        tmp_path / "truth.json",
        events,
        SESSION_TIMEOUT_SECONDS=str(timeout),
        SESSION_START_EVENTS=starts,
        SESSION_END_EVENTS=ends,
    )
    assert found["version"] == 1
    assert found["rule"] == {
        "timeout_seconds": timeout,
        "start_events": [starts] if starts else [],
        "end_events": [ends] if ends else [],
    }
    assert (found["events"], found["duplicates"]) == (15_000, 3)
    assert found["rejected"] == {"not_json": 2}
    numbers = Counter[bytes]()
    expected = []
    for session in sessions(events, timeout, starts, ends):
        numbers[session[0].key] += 1
        expected.append(metrics(session) | {"session_number": numbers[session[0].key]})

    def key(session: dict[str, Any]) -> tuple[str, str]:
        return session["user_id"], session["first_event_timestamp"]

    assert sorted(found["sessions"], key=key) == sorted(map(distinct_queries, expected), key=key)


def test_visits_closer_than_the_timeout_are_one_session(tmp_path: Path) -> None:
    events = live(15_000, active_visitors=20)
    found = write(tmp_path / "truth.json", events)
    assert len(found["sessions"]) < len(by_visit(events))


def event(seconds: float, kind: str = "page_view") -> SimulatedEvent:
    time = round(seconds * SECOND)
    payload = {
        "event_id": f"{time:032x}",
        "event_type": kind,
        "timestamp": timestamp(time),
        "user_id": "v",
        "page_url": "/",
        **dict.fromkeys(("user_agent", "ip_address", "device_type", "country"), ""),
    }
    return SimulatedEvent(time, time, b"v", orjson.dumps(payload))


def test_a_gap_of_exactly_the_timeout_does_not_split(
    tmp_path: Path,
) -> None:
    path = tmp_path / "truth.json"
    assert len(write(path, [event(0), event(1800)])["sessions"]) == 1
    assert len(write(path, [event(0), event(1800.000001)])["sessions"]) == 2


@pytest.mark.parametrize(
    ("session", "is_bounce"),
    [
        ([event(0)], True),
        ([event(0), event(10, "click")], True),
        ([event(0), event(10.000001, "click")], False),
        ([event(0), event(1)], False),
    ],
)
def test_a_bounce_is_short_with_one_page_and_no_purchase(
    tmp_path: Path, session: list[SimulatedEvent], is_bounce: bool
) -> None:
    (found,) = write(tmp_path / "truth.json", session)["sessions"]
    assert found["is_bounce"] is is_bounce


def test_the_file_is_written_atomically_and_no_temporary_file_remains(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    truth = writer(path, Settings())
    list(truth.observe(live(100)))
    assert list(tmp_path.iterdir()) == []
    truth.write(duplicates=0, rejected={})
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*--truth"):
        writer(tmp_path / "nowhere" / "truth.json", Settings())


def test_a_folder_instead_of_a_file_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is a folder"):
        writer(tmp_path, Settings())
