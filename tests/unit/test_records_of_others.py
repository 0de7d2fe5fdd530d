"""Records as other people send them: the files of tests/data/inputs, and other names of fields."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from clickstream.model.events import Event, InvalidEventError
from clickstream.model.field_names import parse_event_types, parse_field_names
from clickstream.model.reading import Reading
from tests.unit.parsing import STRICT, event_with, properties, read, refusal

INPUTS = Path(__file__).parents[1] / "data" / "inputs"
TEN = datetime(2026, 11, 20, 10, tzinfo=UTC)
FRACTION = timedelta(microseconds=123_456)


def lines(name: str) -> list[bytes]:
    """Return the records of an input file."""
    return (INPUTS / name).read_bytes().splitlines()


def results(name: str) -> dict[str, Event | str]:
    """Return for each case of an input file its event, or the reason it is rejected for."""
    return {case(line): result(line) for line in lines(name)}


def case(line: bytes) -> str:
    """Return the letter of a case: `a` of R02a."""
    return json.loads(line.decode("utf-8", "replace"))["case"][3:]  # type: ignore[no-any-return]


def result(line: bytes) -> Event | str:
    try:
        return read(line)
    except InvalidEventError as error:
        return error.reason


def events(name: str) -> dict[str, Event]:
    """Return the events of an input file of which nothing is rejected, by case."""
    return {letter: event for letter, event in results(name).items() if isinstance(event, Event)}


# == The files ==================================================================================


def test_a_frame_of_a_schema_registry_is_skipped() -> None:
    framed = bytes.fromhex((INPUTS / "R01-schema-registry-frame.hex").read_text())
    assert framed[0] == 0
    assert read(framed) == read(framed[5:])
    assert read(framed).user_id == "visitor-R01"


def test_whole_number_ids_are_texts() -> None:
    found = events("R02-whole-number-ids.ndjson")
    assert found["a"].product_id == "355908"
    assert (found["b"].order_id, found["b"].price) == ("4000", Decimal("19.99"))
    assert (found["c"].visit_id, found["d"].article_id) == ("77", "9")
    assert (found["e"].element_id, found["f"].product_category) == ("3", "2053013555631882655")
    assert [event.repaired for event in found.values()] == [None] * 6


def test_the_first_valid_address_of_a_list_is_read() -> None:
    found = events("R03-addresses.ndjson")
    read_as = {letter: event.ip_address for letter, event in found.items()}
    assert read_as == {
        **dict.fromkeys("abcfl", "203.0.113.7"),
        "d": "2001:db8::7",
        "e": "::1",
        "k": "fe80::1",
        "m": "2001:DB8:0:0:0:0:0:7",
        **dict.fromkeys("ghijnop"),
    }
    repaired = {letter for letter, event in found.items() if event.repaired == ("ip_address",)}
    assert repaired == {*"abcdgijknop"}
    assert properties(found["i"])["ip_address"] == "203.0.113.xxx"


def test_a_price_is_read_from_a_decimal_text_and_no_other_text() -> None:
    found = events("R05-prices-as-text.ndjson")
    assert {letter: event.price for letter, event in found.items()} == {
        **dict.fromkeys("abef", Decimal("19.99")),
        "c": Decimal(0),
        "g": Decimal("33.3333"),
        "h": Decimal("0.3"),
        "j": Decimal(100),
        **dict.fromkeys("dik"),
    }
    assert (found["b"].quantity, found["e"].quantity) == (2, 2)
    assert {letter for letter, event in found.items() if event.repaired == ("price",)} == {*"gik"}
    assert properties(found["i"])["price"] == "1.299,00"


def test_a_number_since_1970_is_read_in_its_unit() -> None:
    found = events("R06-epoch-micro.ndjson")
    whole = TEN
    assert {letter: event.event_time for letter, event in found.items()} == {
        **dict.fromkeys("ab", whole + FRACTION),
        **dict.fromkeys("cdf", whole + timedelta(milliseconds=123)),
        "e": whole,
    }


def test_a_time_may_end_with_utc() -> None:
    times = [event.event_time for event in events("R08-utc-suffix.ndjson").values()]
    assert times == [TEN, TEN + FRACTION, TEN, TEN]


def test_a_record_with_an_array_is_rejected() -> None:
    (line,) = lines("R10-array-record.ndjson")
    assert "send one event per record" in refusal(line).detail


def test_text_that_cannot_be_stored_is_repaired() -> None:
    found = results("R12-unstorable-text.ndjson")
    assert found.pop("e") == "not_utf8"
    stored = {letter: event for letter, event in found.items() if isinstance(event, Event)}
    assert {letter: event.repaired for letter, event in stored.items()} == {
        **dict.fromkeys("ac", ("search_query",)),
        **dict.fromkeys("bd", ("properties",)),
        **dict.fromkeys("fg"),
    }
    assert stored["a"].search_query == "x\ufffdy"
    assert properties(stored["d"])["title"] == "party \ufffd"
    assert stored["f"].search_query == stored["g"].search_query


def test_only_an_absent_or_blank_user_id_is_missing() -> None:
    found = results("R13-nobody.ndjson")
    rejected = {letter for letter, event in found.items() if event == "missing_field"}
    assert rejected == {*"dfg"}
    users = {letter: event.user_id for letter, event in events("R13-nobody.ndjson").items()}
    assert (users["a"], users["k"], users["m"], users["n"]) == (
        *("undefined", " visitor-R13 ", "0", "-1"),
    )


def test_an_object_in_place_of_a_text_is_repaired() -> None:
    found = events("R16-device-object.ndjson")
    assert {letter: event.repaired for letter, event in found.items()} == {
        **dict.fromkeys("ab", ("device_type",)),
        "c": ("country",),
        "d": ("user_agent",),
        "e": ("referrer",),
        **dict.fromkeys("fg", ("viewport_size",)),
        "h": ("ip_address",),
        **dict.fromkeys("ij"),
    }
    assert properties(found["a"])["device"]["category"] == "mobile"
    assert (found["i"].success, found["j"].success) == (True, True)


def test_an_unset_clock_is_rejected() -> None:
    assert results("R20-one-unset-clock.ndjson") == {"z": "timestamp_out_of_range"}


def test_floats_of_a_data_frame() -> None:
    found = events("R23-pandas-floats.ndjson")
    assert (found["a"].user_id, found["b"].order_id) == ("257597", "4000")
    assert (found["c"].product_id, found["d"].price) == ("355908", None)
    assert found["f"].event_id == event_with(event_id=12).event_id
    repaired = {letter: event.repaired for letter, event in found.items() if event.repaired}
    assert repaired == {"d": ("price",), "e": ("referrer",)}


def test_discounted_orders_have_their_revenue() -> None:
    orders = [read(line) for line in lines("R29-discounted-orders.ndjson")]
    assert len(orders) == len({event.order_id for event in orders}) == 100
    revenue = sum((event.price or 0) * (event.quantity or 1) for event in orders)
    assert round(revenue, 2) == Decimal("29348.21")


def test_rows_of_a_shop_export() -> None:
    rows = [read(line) for line in lines("R30-shop-export.ndjson")]
    assert [event.user_id for event in rows] == ["257597"] * 3 + ["992329"] * 2
    assert [event.product_id for event in rows] == ["355908"] * 3 + ["248676", None]
    assert len({event.event_id for event in rows}) == 5


# == Other names ================================================================================


def reading(fields: str = "", types: str = "") -> Reading:
    return Reading(parse_field_names(fields), parse_event_types(types))


SEGMENT = reading(
    "user_id=userId|anonymousId; event_id=messageId; event_type=event|type; "
    "page_url=context.page.url; price=properties.price; device_type=context.device.type",
    "page_view=page; purchase=Order Completed",
)


def read_with(setting: Reading, **record: Any) -> Event:
    return read(
        json.dumps({"timestamp": "2026-11-20T10:00:00Z"} | record).encode(), reading=setting
    )


def test_fields_are_found_under_other_names() -> None:
    context = {"page": {"url": "/cart"}, "ip": "::1"}
    event = read_with(SEGMENT, userId=None, anonymousId="a", type="page", context=context)
    assert (event.user_id, event.event_type, event.page_url) == ("a", "page_view", "/cart")
    assert properties(event) == {"userId": None, "event_type": "page", "context": context}
    assert event.repaired is None


def test_the_type_as_sent_stays_in_the_properties() -> None:
    event = read_with(SEGMENT, userId=7, type="track", event="Order Completed")
    assert (event.event_type, event.user_id) == ("purchase", "7")
    assert properties(event) == {"event_type": "Order Completed", "type": "track"}
    strict = read(json.dumps(STRICT).encode(), reading=reading(types="purchase=page_view"))
    assert strict.event_type == "purchase"
    assert properties(strict) == {"event_type": "page_view", "extra": STRICT["extra"]}


def test_a_type_that_is_not_listed_stays_as_it_is() -> None:
    event = read_with(SEGMENT, userId="u", event="Cart Viewed")
    assert (event.event_type, event.properties) == ("Cart Viewed", None)


def test_a_second_type_in_the_record_gives_way_to_the_type_as_sent() -> None:
    event = read_with(SEGMENT, userId="u", event="Order Completed", event_type="x")
    assert properties(event) == {"event_type": "Order Completed"}
    assert event.repaired == ("properties",)


def test_a_repaired_value_stays_under_the_name_it_was_sent_with() -> None:
    moved = read_with(reading("price=Preis"), user_id="u", event_type="x", Preis="1,99")
    assert (moved.price, moved.repaired, properties(moved)) == (None, ("price",), {"Preis": "1,99"})
    sent = {"price": "1,99"}
    nested = read_with(SEGMENT, userId="u", event="x", properties=sent)
    assert (nested.price, nested.repaired, properties(nested)) == (
        *(None, ("price",), {"properties": sent}),
    )


def test_an_error_names_the_field_as_it_was_sent() -> None:
    record = {"userId": {"id": 1}, "event": "x", "timestamp": 1795168800}
    error = refusal(json.dumps(record).encode(), reading=SEGMENT)
    assert error.detail == (
        "The field user_id (sent as 'userId') is an object, not a string or an integer."
    )
