"""The session rule and the metrics of a session, compared with an oracle and with a real log."""

import csv
import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.distinct_values import COUNTED_VALUES
from clickstream.model.events import EPOCH, Event
from clickstream.model.parse import parse
from clickstream.model.sessions import (
    NAMESPACE,
    SESSION_COLUMNS,
    Rule,
    Session,
    fold,
    row_of,
)
from clickstream.settings import Settings
from clickstream.storage.stored_rule import rule_of

DATA = Path(__file__).parents[1] / "data"
START = datetime(2024, 5, 1, 12, tzinfo=UTC)
TIMEOUT = timedelta(minutes=30)
MICROSECOND = timedelta(microseconds=1)
RULE = Rule(TIMEOUT, frozenset(), frozenset())
FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


def event(after: timedelta = timedelta(0), number: int = 0, **fields: Any) -> Event:
    """Return an event of visitor v, this long after START."""
    values: dict[str, Any] = dict.fromkeys(Event._fields)
    values |= {
        "event_id": str(UUID(int=number)),
        "event_time": START + after,
        "event_type": "page_view",
        "user_id": "v",
    }
    return Event(**values | fields)


def minutes(number: float, **fields: Any) -> Event:
    return event(timedelta(minutes=number), **fields)


def sizes(events: list[Event], rule: Rule = RULE) -> list[int]:
    return [session.total_events for session in fold(events, rule)]


def metrics(session: Session, rule: Rule = RULE) -> dict[str, Any]:
    """Return the columns of a session, with JSON text parsed."""
    row = dict(zip(SESSION_COLUMNS, row_of(session, rule), strict=True))
    for name in JSON_COLUMNS:
        row[name] = None if row[name] is None else json.loads(str(row[name]))
    return row


def only(events: list[Event], rule: Rule = RULE) -> dict[str, Any]:
    """Return the metrics of the only session of these events."""
    (session,) = fold(events, rule)
    return metrics(session, rule)


JSON_COLUMNS = (
    "event_type_counts",
    "unique_pages",
    "products_viewed",
    "search_queries",
    "referrers",
)


# == The rule ===================================================================================


def test_a_gap_of_exactly_the_timeout_does_not_split() -> None:
    assert sizes([event(), event(TIMEOUT)]) == [2]


def test_a_gap_of_one_microsecond_more_splits() -> None:
    assert sizes([event(), event(TIMEOUT + MICROSECOND)]) == [1, 1]


def test_the_gap_is_measured_from_the_last_event() -> None:
    assert sizes([minutes(0), minutes(30), minutes(60), minutes(90)]) == [4]


def test_a_start_event_starts_a_session() -> None:
    rule = Rule(TIMEOUT, frozenset({"login"}), frozenset())
    events = [minutes(0), minutes(1, event_type="login"), minutes(2), minutes(3)]
    assert sizes(events, rule) == [1, 3]
    assert sizes(events) == [4]


def test_an_end_event_is_the_last_event_of_its_session() -> None:
    rule = Rule(TIMEOUT, frozenset(), frozenset({"logout"}))
    events = [minutes(0), minutes(1, event_type="logout"), minutes(2), minutes(3)]
    assert sizes(events, rule) == [2, 2]
    assert [metrics(s, rule)["close_reason"] for s in fold(events, rule)] == ["end_event", None]


def test_a_type_can_both_start_and_end_sessions() -> None:
    rule = Rule(TIMEOUT, frozenset({"ping"}), frozenset({"ping"}))
    assert sizes([minutes(number, event_type="ping") for number in range(3)], rule) == [1, 1, 1]


def test_start_and_end_events_are_boundary_events() -> None:
    rule = Rule(TIMEOUT, frozenset({"login"}), frozenset({"logout"}))
    types = ("login", "logout", "page_view")
    assert [rule.is_boundary(event(event_type=name)) for name in types] == [True, True, False]


def test_events_of_equal_time_are_ordered_by_event_id() -> None:
    twins = [event(number=n, page_url=f"/{n}", event_type=t) for n, t in ((1, "logout"), (2, "x"))]
    for events in (twins, twins[::-1]):
        session = Session(events[0])
        session.add(events[1])
        assert (session.first[1], session.last[1]) == (str(UUID(int=1)), str(UUID(int=2)))
        assert (metrics(session)["landing_page"], metrics(session)["exit_page"]) == ("/1", "/2")
        assert session.last_type == "x"
    assert sizes(twins, Rule(TIMEOUT, frozenset(), frozenset({"logout"}))) == [1, 1]


def test_the_rule_comes_from_the_settings() -> None:
    given = Settings(
        session_timeout_seconds=60, session_start_events=("a",), session_end_events=("b", "c")
    )
    assert rule_of(given) == Rule(timedelta(minutes=1), frozenset("a"), frozenset("bc"))


def test_session_ids_are_those_of_earlier_versions() -> None:
    """Tables that an earlier version filled hold such ids."""
    first = event(timedelta(microseconds=123_456), number=7)
    assert Session(first).session_id == "1dc26f1d-3714-5522-8159-884e9313ac0a"


def test_a_session_id_depends_on_the_visitor_and_on_time_and_id_of_the_first_event() -> None:
    others = [event(), event(number=1), event(MICROSECOND), event(user_id="w")]
    assert len({Session(first).session_id for first in others}) == len(others)


def test_an_earlier_event_changes_the_session_id() -> None:
    session = Session(minutes(1))
    before = session.session_id
    session.add(minutes(0))
    assert session.session_id == Session(minutes(0)).session_id != before


# == Metrics, one by one ========================================================================


@pytest.mark.parametrize(
    ("events", "is_bounce"),
    [
        ([event(), event(timedelta(seconds=10), event_type="click")], True),
        ([event(), event(timedelta(seconds=10) + MICROSECOND, event_type="click")], False),
        ([event(), event(timedelta(seconds=1))], False),
        ([event(event_type="purchase")], False),
        ([event()], True),
    ],
)
def test_a_session_that_is_not_engaged_is_a_bounce(events: list[Event], is_bounce: bool) -> None:
    assert only(events)["is_bounce"] is is_bounce


def test_revenue_is_exact_and_counts_purchases_only() -> None:
    lines = [
        minutes(0, event_type="purchase", price=Decimal("0.1"), quantity=3),
        minutes(1, event_type="purchase", price=Decimal("9999999999.9999"), quantity=1_000_000),
        minutes(2, event_type="purchase", price=Decimal("0.0001")),
        minutes(3, event_type="purchase", quantity=5),
        minutes(4, event_type="add_to_cart", price=Decimal(1000), quantity=1),
    ]
    assert only(lines)["total_revenue"] == Decimal("9999999999999900.3001")


def test_the_lines_of_an_order_count_once_and_each_line_without_order_id_counts_once() -> None:
    orders = ["a", "a", None, "b", None]
    lines = [minutes(n, event_type="purchase", order_id=o) for n, o in enumerate(orders)]
    assert only([*lines, minutes(9, order_id="c")])["orders_count"] == 4


@pytest.mark.parametrize("column", ["user_agent", "ip_address", "device_type", "country"])
def test_a_value_is_taken_from_the_first_event_that_has_one(column: str) -> None:
    values = [None, "second", "third"]
    events = [minutes(n, **{column: value}) for n, value in enumerate(values)]
    assert only(events)[column] == "second"
    assert only(events[:1])[column] is None


def test_arrays_are_sorted_by_code_point() -> None:
    pages = ["b", "\U0001f600", "A", "\uffff", "a", "\u00e9"]
    shown = only([minutes(n, page_url=page) for n, page in enumerate(pages)])["unique_pages"]
    assert shown == sorted(pages, key=lambda page: page.encode())


# == Bounds =====================================================================================

SETS = {  # the field, the type of its events, the array, the number
    "page_url": ("scroll", "unique_pages", "unique_pages_count"),
    "product_id": ("click", "products_viewed", "products_viewed_count"),
    "referrer": ("scroll", "referrers", "unique_referrers_count"),
    "search_query": ("search", "search_queries", None),
    "order_id": ("purchase", None, "orders_count"),
}


@pytest.mark.parametrize(
    ("field", "number"),
    [
        *(("page_url", n) for n in (16, 17, 1_000, 1_001, 10_000, 10_001)),
        *((f, 21_000) for f in SETS),
    ],
)
def test_an_array_shows_the_1000_smallest_values_and_its_number_counts_up_to_10000(
    field: str, number: int
) -> None:
    event_type, array, count = SETS[field]
    values: list[Any] = [f"{n:05}" for n in range(number)]
    Random(number).shuffle(values)
    one = event(event_type=event_type)
    shown = only([one._replace(**{field: value}) for value in values])
    if array:
        assert shown[array] == [f"{n:05}" for n in range(min(number, 1_000))]
    if count:
        assert shown[count] == min(number, 10_000)


def test_the_memory_of_a_crawlers_session_is_bounded() -> None:
    one = event(page_url="/")
    session = Session(one)
    for number in range(3 * COUNTED_VALUES):
        session.add(one._replace(page_url=str(number), event_type=str(number)))
    assert len(list(session.pages)) < 2_000
    assert len(session.pages) == COUNTED_VALUES
    assert len(session.event_types) < 2_000


def test_equal_texts_of_two_sessions_are_in_memory_once() -> None:
    first, second = (Session(event(page_url=f"/page/{number}")) for number in (1, 1))
    assert first.landing_page is second.landing_page


def test_long_texts_stay_in_memory_only_with_their_sessions() -> None:
    tracemalloc.start()
    try:
        for number in range(1_000):
            long = f"/{number:09}" * 800
            Session(event(page_url=long, referrer=long, user_agent=long, product_id=long))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 1_000_000


@pytest.mark.parametrize("field", [name for name, (_, array, _) in SETS.items() if array])
def test_an_array_is_written_again_only_if_it_has_a_new_value(field: str) -> None:
    event_type, changed, _ = SETS[field]
    texts: dict[str, Any] = dict.fromkeys(SETS, "a")
    session = Session(event(**texts))
    assert written_arrays(session) == {array for _, array, _ in SETS.values() if array}
    session.add(event(event_type="search", **texts))
    session.mark_stored("1")
    session.add(event(event_type="search", **texts))
    assert written_arrays(session) == set()
    changes: dict[str, Any] = {"event_type": event_type, field: "b"}
    session.add(event(**changes))
    assert written_arrays(session) == {changed}
    assert metrics(session)[str(changed)] == ["a", "b"]


def written_arrays(session: Session) -> set[str]:
    row = metrics(session)
    return {array for _, array, _ in SETS.values() if array and row[array] is not None}


def test_a_large_array_is_written_again_only_if_a_shown_value_is_new() -> None:
    one = event()
    session = Session(one)
    for number in range(1_000, 3_000):
        session.add(one._replace(page_url=str(number)))
    assert metrics(session)["unique_pages_count"] == 2_000
    session.mark_stored("1")
    session.add(one._replace(page_url="9"))
    assert metrics(session)["unique_pages"] is None
    assert metrics(session)["unique_pages_count"] == 2_001
    session.add(one._replace(page_url="0"))
    assert metrics(session)["unique_pages"] == ["0", *(str(n) for n in range(1_000, 1_999))]


def test_the_1000_smallest_types_are_counted() -> None:
    types = [f"{n:04}" for n in range(3_000)] * 2
    Random(1).shuffle(types)
    one = event()
    counts = only([one._replace(event_type=name) for name in types])
    assert counts["event_type_counts"] == {f"{n:04}": 2 for n in range(1_000)}
    assert counts["total_events"] == 6_000


# == All metrics, compared with an oracle =======================================================


def oracle(events: list[Event], rule: Rule) -> list[list[Event]]:
    """Return the sessions of events by the simplest code that states the rule."""
    groups: list[list[Event]] = []
    for new in sorted(events, key=lambda e: (e.event_time, e.event_id)):
        before = groups[-1][-1] if groups else None
        if (
            before is None
            or new.event_time > before.event_time + rule.timeout
            or new.event_type in rule.start_events
            or before.event_type in rule.end_events
        ):
            groups.append([])
        groups[-1].append(new)
    return groups


def oracle_metrics(group: list[Event], rule: Rule) -> dict[str, Any]:
    """Return the metrics of a session, each computed from all its events. group: in order."""
    first, last = group[0], group[-1]
    bought = [e for e in group if e.event_type == "purchase"]
    looks = {"page_view", "click", "hover", "scroll", "add_to_cart"}

    def of(name: str, types: set[str] | None = None) -> list[str]:
        """Return the values of a field, in order."""
        some = [e for e in group if types is None or e.event_type in types]
        return [getattr(e, name) for e in some if getattr(e, name) is not None]

    engaged = bought or [e.event_type for e in group].count("page_view") >= 2
    micros = int((first.event_time - EPOCH) / MICROSECOND)
    return {
        "session_id": str(uuid5(NAMESPACE, f"{first.event_id}:{micros}:{first.user_id}")),
        "user_id": first.user_id,
        "total_events": len(group),
        "event_type_counts": dict(Counter(e.event_type for e in group)),
        "first_event_timestamp": first.event_time,
        "last_event_timestamp": last.event_time,
        "first_event_id": first.event_id,
        "last_event_id": last.event_id,
        "unique_pages": sorted(set(of("page_url"))),
        "unique_pages_count": len(set(of("page_url"))),
        "landing_page": next(iter(of("page_url")), None),
        "entry_referrer": next((e.referrer for e in group if e.page_url is not None), None),
        "exit_page": next(reversed(of("page_url")), None),
        "total_revenue": sum((e.price or 0) * (e.quantity or 1) for e in bought),
        "orders_count": len({e.order_id or e.event_id for e in bought}),
        "products_viewed": sorted(set(of("product_id", looks))),
        "products_viewed_count": len(set(of("product_id", looks))),
        "search_queries": sorted(set(of("search_query", {"search"}))),
        "referrers": sorted(set(of("referrer"))),
        "unique_referrers_count": len(set(of("referrer"))),
        "user_agent": next(iter(of("user_agent")), None),
        "ip_address": next(iter(of("ip_address")), None),
        "device_type": next(iter(of("device_type")), None),
        "country": next(iter(of("country")), None),
        "is_bounce": not (engaged or last.event_time - first.event_time > timedelta(seconds=10)),
        "engaged_seconds": sum(map(Decimal, of("engaged_ms"))) / 1000 if of("engaged_ms") else None,
        "close_reason": "end_event" if last.event_type in rule.end_events else None,
    }


TYPES = ("page_view", "click", "search", "purchase", "login", "logout", "add_to_cart", "like")
GAPS = (timedelta(0), MICROSECOND, timedelta(seconds=10), TIMEOUT, TIMEOUT + MICROSECOND)
TEXTS = (
    *("page_url", "referrer", "user_agent", "ip_address", "device_type"),
    *("country", "product_id", "order_id", "search_query"),
)
some_texts = st.tuples(*[st.sampled_from([None, "a", "b", "\u00e9"]) for _ in TEXTS])
some_engaged_ms = st.sampled_from([None, 0, 1, 86_400_000])
some_types = st.frozensets(st.sampled_from(TYPES), max_size=2)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events of one visitor in order of time; those of equal time are in no order of their ids."""
    time, events = timedelta(0), []
    for number in draw(st.permutations(range(draw(st.integers(1, 8))))):
        time += draw(st.sampled_from(GAPS))
        texts = dict(zip(TEXTS, draw(some_texts), strict=True))
        event_type = draw(st.sampled_from(TYPES))
        price = draw(st.none() | st.decimals(-1, 10**10, places=4))
        quantity = draw(st.none() | st.integers(1, 1_000_000))
        amounts = {"price": price, "quantity": quantity, "engaged_ms": draw(some_engaged_ms)}
        events.append(event(time, number, event_type=event_type, **amounts, **texts))
    return events


by_key = attrgetter("key")
rules = st.builds(Rule, st.sampled_from([TIMEOUT, timedelta(seconds=10)]), some_types, some_types)


@given(histories(), rules)
def test_sessions_and_metrics_are_those_of_the_oracle(events: list[Event], rule: Rule) -> None:
    found = [metrics(session, rule) for session in fold(sorted(events, key=by_key), rule)]
    assert found == [oracle_metrics(group, rule) for group in oracle(events, rule)]


@given(histories(), rules, st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_the_order_in_which_events_are_added(
    events: list[Event], rule: Rule, chance: Random
) -> None:
    for group in oracle(events, rule):
        expected = oracle_metrics(group, rule)
        chance.shuffle(group)
        session = Session(group[0])
        for each in group[1:]:
            session.add(each)
        assert metrics(session, rule) == expected


# == A real log =================================================================================


@cache
def real_log() -> tuple[Event, ...]:
    with gzip.open(DATA / "apache_logs.events.csv.gz", "rt") as file:
        return tuple(
            parse(
                json.dumps(
                    {
                        "event_id": row["seq"],
                        "event_type": row["event"],
                        "timestamp": int(row["ts_ms"]),
                        "user_id": row["user_id"],
                        "page_url": row["page"],
                        "status": row["status"],
                        "ua": row["ua"],
                    }
                ).encode(),
                origin=("log", 0, 0),
                latest=FAR_FUTURE,
            )
            for row in csv.DictReader(file)
        )


def reference_sessions() -> list[tuple[str, int, int, int]]:
    with gzip.open(DATA / "apache_logs.30m.inclusive.csv.gz", "rt") as file:
        return sorted(
            (row["user_id"], int(row["start_ms"]), int(row["end_ms"]), int(row["events"]))
            for row in csv.DictReader(file)
        )


def milliseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(milliseconds=1)


def folded(events: list[Event]) -> Iterator[tuple[str, int, int, int]]:
    by_visitor = sorted(events, key=lambda event: (event.user_id, event.key))
    for user_id, own in groupby(by_visitor, key=attrgetter("user_id")):
        for session in fold(own, RULE):
            first, last = milliseconds(session.first[0]), milliseconds(session.last[0])
            yield user_id, first, last, session.total_events


def keep_order(events: list[Event]) -> None:
    assert events[0].event_time < events[-1].event_time


@pytest.mark.parametrize("arrange", [keep_order, Random(1).shuffle, list.reverse])
def test_a_real_log_gives_its_reference_sessions(
    arrange: Callable[[list[Event]], None],
) -> None:
    events = list(real_log())
    arrange(events)
    assert len(events) == 10_000
    assert sorted(folded(events)) == reference_sessions()


# == Memory =====================================================================================


def an_open_session(visitor: int) -> Session:
    """Return a session of 20 parsed events on 8 pages with 6 products."""

    def parsed(number: int) -> Event:
        body = {
            "event_id": str(UUID(int=visitor << 8 | number)),
            "event_type": ("page_view", "click", "scroll", "hover", "add_to_cart")[number % 5],
            "timestamp": f"2024-05-01T12:{number:02}:00.000000Z",
            "user_id": f"user-{visitor:08}",
            "page_url": f"https://shop.example/products/{visitor}-{number % 8}",
            "referrer": "https://search.example/",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/124.0",
            "ip_address": "203.0.113.7",
            "device_type": "desktop",
            "country": "Germany",
            "product_id": f"product-{visitor}-{number % 6}",
        }
        return parse(json.dumps(body).encode(), origin=("t", 0, number), latest=FAR_FUTURE)

    (session,) = fold(map(parsed, range(20)), RULE)
    return session


def test_a_visitor_with_20_events_takes_no_more_than_2_5_kib() -> None:
    an_open_session(0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [an_open_session(visitor) for visitor in range(1, 51)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / len(kept) <= 2_560
