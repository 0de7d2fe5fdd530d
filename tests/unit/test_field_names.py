"""EVENT_FIELDS and EVENT_TYPES: how the settings are parsed, and the fields that they select."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.model.events import RECORD_FIELDS
from clickstream.model.field_names import (
    NATIVE_FIELD_NAMES,
    SelectedFields,
    parse_event_types,
    parse_field_names,
)

NAN = float("nan")


def select(setting: str, **record: Any) -> SelectedFields:
    return parse_field_names(setting).select(record)


# == Which value is selected ====================================================================


def test_names_are_tried_in_the_order_given() -> None:
    setting = "user_id=userId|anonymousId"
    assert select(setting, anonymousId="a", userId="u").values == {"user_id": "u"}
    assert select(setting, anonymousId="a").values == {"user_id": "a"}


def test_the_native_name_comes_last() -> None:
    assert select("user_id=userId", user_id="native", userId="u").values == {"user_id": "u"}
    assert select("user_id=userId", user_id="native").values == {"user_id": "native"}


def test_the_native_name_can_be_listed_before_others() -> None:
    assert select("user_id=user_id|u", user_id="native", u="u").values == {"user_id": "native"}


@pytest.mark.parametrize("absent", [None, "", NAN])
def test_null_the_empty_string_and_nan_are_absent(absent: Any) -> None:
    assert select("user_id=a|b", a=absent, b="b").values == {"user_id": "b"}
    assert select("", user_id=absent).values == {}


@pytest.mark.parametrize("value", [0, False, " ", [], {}])
def test_any_other_value_is_a_value(value: Any) -> None:
    assert select("user_id=a|b", a=value, b="b").values == {"user_id": value}


def test_a_name_with_dots_is_a_path_into_objects() -> None:
    page = {"page": {"url": "/"}}
    assert select("page_url=context.page.url", context=page).values == {"page_url": "/"}
    for wrong in (None, "x", ["page"], {"page": None}, {"page": "url"}, {}):
        assert select("page_url=context.page.url", context=wrong).values == {}


def test_a_key_that_has_the_dots_in_its_name_is_taken_first() -> None:
    found = parse_field_names("country=geo.country").select(
        {"geo.country": "DE", "geo": {"country": "FR"}}
    )
    assert found.values == {"country": "DE"}
    assert found.others == {"geo": {"country": "FR"}}


def test_ip_and_device_are_second_native_names() -> None:
    assert select("", ip="::1", device="tablet").values == {
        "device_type": "tablet",
        "ip_address": "::1",
    }
    assert select("", ip="b", ip_address="a").values == {"ip_address": "a"}
    assert select("ip_address=client", ip="b", client="c").values == {"ip_address": "c"}


def test_two_fields_can_have_one_source() -> None:
    found = select("product_id=sku; element_id=sku", sku="s", page_url="/")
    assert found.values == {"product_id": "s", "element_id": "s", "page_url": "/"}
    assert found.others == {}


# == What is left of the record =================================================================


def test_a_top_level_value_moves_and_a_nested_one_is_copied() -> None:
    context = {"page": {"url": "/"}, "library": "x"}
    found = select("user_id=uid; page_url=context.page.url", uid="u", context=context, more=1)
    assert found.values == {"user_id": "u", "page_url": "/"}
    assert found.sent_as == {"user_id": "uid"}
    assert found.others == {"context": context, "more": 1}


def test_fields_that_were_not_selected_are_kept() -> None:
    found = select("user_id=userId|anonymousId", userId="u", anonymousId="a", user_id="n")
    assert found.others == {"anonymousId": "a", "user_id": "n"}


def test_native_names_without_a_value_are_dropped() -> None:
    assert select("", user_id=None, page_url="", ip="", extra=None).others == {"extra": None}


@given(
    st.dictionaries(
        st.sampled_from(["user_id", "uid", "a", "a.b", "ip", "ip_address", "x"]),
        st.sampled_from([1, "v", {"b": 2}, {"b": {"c": 3}}, [4], False]),
    )
)
def test_no_value_of_a_record_is_lost(record: dict[str, Any]) -> None:
    found = parse_field_names("user_id=a.b|uid; ip_address=a").select(record)
    moved = {name: found.values[field] for field, name in found.sent_as.items()}
    assert moved | found.others == record


# == The form of EVENT_FIELDS ===================================================================


def test_blanks_and_line_ends_around_names_are_ignored() -> None:
    names = parse_field_names(" user_id = a b | c ;\n page_url=d ; ")
    assert names.text == "page_url=d; user_id=a b|c"
    assert names == parse_field_names(names.text)


def test_an_empty_setting_means_the_native_names() -> None:
    assert parse_field_names("") == parse_field_names(" ; ") == NATIVE_FIELD_NAMES
    assert NATIVE_FIELD_NAMES.paths["user_id"] == (("user_id",),)
    assert NATIVE_FIELD_NAMES.paths.keys() == {*RECORD_FIELDS}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("user_id", r"must be a list like a=b\|c; d=e, and 'user_id' is not of this form"),
        ("user_id=", "and 'user_id=' is not of this form"),
        ("user_id=a||b", r"and 'user_id=a\|\|b' is not of this form"),
        ("=a", "and '=a' is not of this form"),
        ("user_id=a; user_id=b", "has user_id twice; write all its names in one place"),
        ("visitor=a", "names the field 'visitor', which an event does not have; the fields are "),
        ("device=a", "names the field 'device', which an event does not have"),
        ("properties=a", "names the field 'properties'"),
    ],
)
def test_a_setting_of_another_form_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_field_names(setting)


# == EVENT_TYPES ================================================================================


def test_a_type_has_the_names_listed_for_it() -> None:
    types = parse_event_types("page_view=$pageview|view; purchase=transaction|Order Completed")
    assert types.native == {
        "$pageview": "page_view",
        "view": "page_view",
        "transaction": "purchase",
        "Order Completed": "purchase",
    }
    assert types.text == "page_view=$pageview|view; purchase=Order Completed|transaction"


def test_a_name_for_two_types_is_refused() -> None:
    with pytest.raises(ValueError, match="gives 'x' to both click and page_view"):
        parse_event_types("click=x; page_view=x")


def test_a_type_is_at_most_256_bytes_long() -> None:
    longest = "\u00e9" * 128
    assert parse_event_types(f"{longest}=a").native == {"a": longest}
    with pytest.raises(ValueError, match="has a type of more than 256 bytes"):
        parse_event_types(f"{longest}a=a")
