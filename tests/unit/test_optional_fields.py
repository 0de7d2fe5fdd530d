"""Optional fields: what each reads without loss, what it repairs, and what it cannot read."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.events import TEXT_FIELDS
from tests.unit.parsing import event_with, properties, read, with_json

TOO_MANY_DIGITS = "1e999999999999999999999"


def check_read(field: str, json_text: str, expected: Any) -> None:
    """Check that a field is read without loss."""
    event = read(with_json(field, json_text))
    assert getattr(event, field) == expected
    assert (event.repaired, event.properties) == (None, None)


def check_repaired(field: str, json_text: str, expected: Any) -> None:
    """Check that a field is repaired, and that its value as sent is a property."""
    event = read(with_json(field, json_text))
    assert getattr(event, field) == expected
    assert event.repaired == (field,)
    assert properties(event) == {field: json.loads(json_text)}


# == Texts ======================================================================================


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ("355908", "355908"),
        ("-7", "-7"),
        ("2053013555631882655", "2053013555631882655"),
        ("42.0", "42"),
        ("4e3", "4000"),
        ("1.50", "1.50"),
        ("true", "true"),
        ("false", "false"),
        ("1e400", "1e400"),
        ('" "', " "),
        ('"\\ud83c\\udf89 \\u00fcn\\u00ef"', "\U0001f389 \u00fcn\u00ef"),
    ],
)
def test_a_number_or_boolean_becomes_the_text_of_its_json(
    field: str, sent: str, read_as: str
) -> None:
    check_read(field, sent, read_as)


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("character", ["a", "\U0001f600"])
def test_a_text_of_more_than_8192_characters_is_cut(field: str, character: str) -> None:
    check_read(field, json.dumps(character * 8_192), character * 8_192)
    check_repaired(field, json.dumps(character * 8_193), character * 8_192)


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("sent", ["{}", "[]", '{"category": "mobile"}', "[1280, 720]"])
def test_an_object_or_an_array_is_no_text(field: str, sent: str) -> None:
    check_repaired(field, sent, None)


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("sent", [r"x\u0000y", r"x\ud83dy", r"x\udc00y"])
def test_nul_and_lone_surrogates_are_replaced(field: str, sent: str) -> None:
    event = read(with_json(field, f'"{sent}"'))
    assert getattr(event, field) == "x\ufffdy"
    assert event.repaired == (field,)
    assert properties(event) == {field: "x\ufffdy"}


def test_a_second_native_name_is_repaired_under_the_name_it_was_sent_with() -> None:
    event = event_with(device={"category": "mobile"}, ip=0)
    assert (event.device_type, event.ip_address) == (None, None)
    assert event.repaired == ("device_type", "ip_address")
    assert properties(event) == {"device": {"category": "mobile"}, "ip": 0}


# == Price ======================================================================================


@pytest.mark.parametrize(
    "price",
    [
        *("0", "-0.0", "0.1", "19.99", "0.0001", "9999999999", "9999999999.9999", "-5.25"),
        *("100.00", "1e2", "-0.00", "0e5", "1e-4"),
    ],
)
@pytest.mark.parametrize("form", ["{}", '"{}"', '" {} "'])
def test_a_price_is_exact_as_a_number_and_as_text(form: str, price: str) -> None:
    check_read("price", form.format(price), Decimal(price))


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ("19.990000000000002", "19.99"),
        ("0.30000000000000004", "0.3"),
        ("67.12449999999999", "67.1245"),
        ('"19.990000000000002"', "19.99"),
        ("1.0000009", "1"),
        ("1e-7", "0"),
        ("0.00000099", "0"),
    ],
)
def test_float_noise_is_rounded_away_and_is_no_repair(sent: str, read_as: str) -> None:
    check_read("price", sent, Decimal(read_as))


@pytest.mark.parametrize("form", ["{}", '"{}"'])
@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ("33.333333333333336", "33.3333"),
        ("0.00005", "0.0000"),
        ("0.00015", "0.0002"),
        ("-0.00025", "-0.0002"),
        ("1.23456", "1.2346"),
        ("0.000001", "0"),
        ("1.000001", "1"),
    ],
)
def test_a_price_is_rounded_half_even_to_four_places(form: str, sent: str, read_as: str) -> None:
    check_repaired("price", form.format(sent), Decimal(read_as))


@pytest.mark.parametrize(
    "sent",
    [
        *("10000000000", "1e10", "-1e10", "1e300", "9999999999.99995", '"1e10"'),
        *('"1.299,00"', '"19.99 EUR"', '"$5"', '"1 000"', '"1_000"', '"0x10"', '"."', '"1e"'),
        *('"\u0661"', '" "', "true", "false", "[]", "{}", "[1]", f'"{TOO_MANY_DIGITS}"'),
    ],
)
def test_any_other_price_is_no_value(sent: str) -> None:
    check_repaired("price", sent, None)


@pytest.mark.parametrize("sent", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["price", "quantity", "referrer", "ip_address", "success"])
def test_nan_and_infinity_become_null(field: str, sent: str) -> None:
    event = read(with_json(field, sent))
    assert getattr(event, field) is None
    assert event.repaired == (field,)
    assert properties(event) == {field: None}


def test_a_number_outside_a_double_is_no_price_and_stays_as_its_text() -> None:
    for text in ("1e400", "9" * 400, "9" * 5_000):
        event = read(with_json("price", text))
        assert (event.price, event.repaired) == (None, ("price",))
        assert properties(event) == {"price": text}


@given(st.decimals(-(10**10), 10**10, places=4).filter(lambda price: abs(price) < 10**10))
def test_prices_of_four_places_are_exact(price: Decimal) -> None:
    for sent in (f"{price:f}", f'"{price:f}"'):
        check_read("price", sent, price)


# == Quantity ===================================================================================


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        *(("1", 1), ("0", 0), ("-1", -1), ("1000000", 10**6), ("-1000000", -(10**6))),
        *(("2.0", 2), ("1e6", 10**6), ('"2"', 2), ('"2.0"', 2), ('" -3 "', -3), ('"+4"', 4)),
    ],
)
def test_a_quantity_is_an_integer_and_may_be_negative(sent: str, read_as: int) -> None:
    check_read("quantity", sent, read_as)


@pytest.mark.parametrize(
    "sent",
    [
        *("1000001", "-1000001", "1e300", "1.5", '"1.5"', '"two"', "true", "[]", "{}"),
        *('"1,000"', '"1000000.0000000000000000000000000000001"', f'"{TOO_MANY_DIGITS}"'),
    ],
)
def test_any_other_quantity_is_no_value(sent: str) -> None:
    check_repaired("quantity", sent, None)


# == Engaged time ===============================================================================


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        *(("0", 0), ("1", 1), ("86400000", 86_400_000), ("2.0", 2), ("1e3", 1_000)),
        *(('"2"', 2), ('" 1500.0 "', 1_500), ('"+4"', 4), ("-0.0", 0)),
    ],
)
def test_engaged_ms_is_a_number_of_milliseconds_up_to_a_day(sent: str, read_as: int) -> None:
    check_read("engaged_ms", sent, read_as)


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [("15320.699999928474", 15_321), ("0.5", 0), ("1.5", 2), ('"86399999.9"', 86_400_000)],
)
def test_a_fraction_of_a_millisecond_is_rounded_half_even(sent: str, read_as: int) -> None:
    check_repaired("engaged_ms", sent, read_as)


@pytest.mark.parametrize(
    "sent", ["-1", "-0.1", "86400001", "86400000.1", "1e300", '"long"', "true", "[]", "{}"]
)
def test_any_other_engaged_ms_is_no_value(sent: str) -> None:
    check_repaired("engaged_ms", sent, None)


# == Success ====================================================================================


@pytest.mark.parametrize("sent", ["true", "1", "1.0", '"true"', '"TRUE"', '"True"', '"1"'])
def test_success_is_true_in_any_of_these_forms(sent: str) -> None:
    check_read("success", sent, True)


@pytest.mark.parametrize("sent", ["false", "0", "0.0", '"false"', '"False"', '"0"', '" 0 "'])
def test_success_is_false_in_any_of_these_forms(sent: str) -> None:
    check_read("success", sent, False)


@pytest.mark.parametrize("sent", ["2", "-1", "0.5", '"yes"', '"ok"', "[]", "{}", '" "'])
def test_any_other_success_is_no_value(sent: str) -> None:
    check_repaired("success", sent, None)


# == IP address =================================================================================


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        *((address, address) for address in ("203.0.113.7", "2001:db8::7", "::", "2001:DB8::7")),
        ("203.0.113.7 ", "203.0.113.7"),
        ("[::1]", "::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:CB00:7107", "203.0.113.7"),
        ("[::ffff:203.0.113.7]", "203.0.113.7"),
    ],
)
def test_an_address_is_read_without_blanks_brackets_and_mapping(sent: str, read_as: str) -> None:
    check_read("ip_address", json.dumps(sent), read_as)


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ("203.0.113.7, 198.51.100.2", "203.0.113.7"),
        ("203.0.113.7,198.51.100.2", "203.0.113.7"),
        ("unknown, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:27817", "203.0.113.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443, 203.0.113.7:80", "fe80::1"),
        ("::ffff:203.0.113.7, ::1", "203.0.113.7"),
    ],
)
def test_the_rest_of_a_list_a_port_and_a_zone_id_are_left_out(sent: str, read_as: str) -> None:
    check_repaired("ip_address", json.dumps(sent), read_as)


@pytest.mark.parametrize(
    "sent",
    [
        *("unknown", "-", "localhost", "203.0.113.xxx", "203.0.113.0/24", "203.0.113.007"),
        *("256.1.1.1", "1.2.3", "::1::", "12345::", ",", " ", "1.2.3.4:", "[1.2.3.4", "1.2.3.4:x"),
        *("::1:80:90:1:2:3:4:5:6", "\u0661.2.3.4", "1.2.3.4\u0661"),
    ],
)
def test_any_other_address_is_no_value(sent: str) -> None:
    check_repaired("ip_address", json.dumps(sent), None)


@pytest.mark.parametrize("sent", ["0", "3232235777", "true", "[]", '["::1"]', "{}"])
def test_an_address_of_another_type_is_no_value(sent: str) -> None:
    check_repaired("ip_address", sent, None)


# == Any other key ==============================================================================


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (r'"x\u0000y"', "x\ufffdy"),
        (r'["\ud83d", {"a": "\udc00"}]', ["\ufffd", {"a": "\ufffd"}]),
        (r'{"\u0000": 1}', {"\ufffd": 1}),
        ("NaN", None),
        ('{"a": [Infinity, -Infinity, 1]}', {"a": [None, None, 1]}),
        ("1e400", "1e400"),
        ("[-1e400]", ["-1e400"]),
        ("9" * 400, "9" * 400),
    ],
)
def test_a_property_that_cannot_be_stored_is_repaired(sent: str, kept: Any) -> None:
    event = read(with_json("extra", sent))
    assert properties(event) == {"extra": kept}
    assert event.repaired == ("properties",)


def test_the_name_of_a_key_that_cannot_be_stored_is_repaired() -> None:
    for name in ("a\0", "a\ud83d"):
        event = event_with(**{name: 1})
        assert properties(event) == {"a\ufffd": 1}
        assert event.repaired == ("properties",)


def test_repaired_fields_are_named_once_and_in_one_order() -> None:
    event = event_with(extra="\0", other="\0", quantity="x", page_url=[], event_id=[])
    assert event.repaired == ("event_id", "page_url", "quantity", "properties")
