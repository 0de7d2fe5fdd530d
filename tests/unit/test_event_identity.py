"""user_id and event_id: how they are read, and that those of version 0.2 stay the same."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clickstream.model.event_ids import EVENT_NAMESPACE
from clickstream.model.events import (
    Event,
    InvalidEventError,
)
from clickstream.model.parse import parse
from tests.unit.parsing import (
    LATEST,
    ORIGIN,
    VALID,
    event_with,
    properties,
    read,
    refusal,
    with_json,
)

STORED_BY_0_2 = Path(__file__).parents[1] / "data" / "stored_by_0.2.ndjson.gz"


def nested(levels: int, innermost: str = "") -> bytes:
    """Return a valid record of this many levels, the object itself the first."""
    return with_json("extra", "[" * (levels - 1) + innermost + "]" * (levels - 1))


FORMS_OF_42: list[Any] = [42, 42.0, "42"]

# == Visitors ===================================================================================


def test_an_integer_user_is_the_same_as_its_digits() -> None:
    for value in FORMS_OF_42:
        assert event_with(user_id=value).user_id == "42"
    assert event_with(user_id=-7).user_id == "-7"
    assert read(with_json("user_id", "4.2e1")).user_id == "42"


def test_a_user_id_is_kept_as_it_is() -> None:
    for value in (" v ", "undefined", "Someone@Example.com", "{1E9E8EA0}", "e\u0301", "0", "NaN"):
        event = event_with(user_id=value)
        assert (event.user_id, event.repaired) == (value, None)


def test_an_integer_user_has_at_most_256_digits() -> None:
    assert event_with(user_id=10**255).user_id == "1" + "0" * 255
    for digits in (256, 400, 5_000):
        assert refusal(with_json("user_id", "1" + "0" * digits)).reason == "too_long"


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 + 1, 10**40 + 1])
@pytest.mark.parametrize("form", ["{}", "{}.0", "{}.000e0"])
def test_large_integers_are_exact(number: int, form: str) -> None:
    text = form.format(number)
    assert read(with_json("user_id", text)).user_id == str(number)
    assert read(with_json("product_id", text)).product_id == str(number)
    assert read(with_json("event_id", text)).event_id == event_with(event_id=number).event_id


# == Event ids ==================================================================================


def test_a_uuid_is_the_event_id_in_lower_case() -> None:
    identifier = "018F3F5E-7B3A-7C11-9A53-0D2F6F3B9C01"
    assert event_with(event_id=identifier).event_id == identifier.lower()
    assert event_with(event_id=identifier.lower()).event_id == identifier.lower()


@given(st.text(st.characters(), min_size=1, max_size=20))
@example("018f3f5e7b3a7c119a530d2f6f3b9c01")
@example("{018f3f5e-7b3a-7c11-9a53-0d2f6f3b9c01}")
@example(" ")
@example("\0")
@example("\ud83d")
def test_another_event_id_becomes_a_uuid_of_version_5(identifier: str) -> None:
    event = event_with(event_id=identifier)
    # A JSON parser joins the halves of a surrogate pair.
    name = b"id:" + json.loads(json.dumps(identifier)).encode("utf-8", "surrogatepass")
    digest = hashlib.sha1(EVENT_NAMESPACE.bytes + name).digest()
    assert event.event_id == str(UUID(bytes=digest[:16], version=5))
    assert event.repaired is None


def test_an_integer_event_id_is_the_same_as_its_digits() -> None:
    same = {event_with(event_id=value).event_id for value in FORMS_OF_42}
    assert len(same) == 1
    assert event_with(event_id=43).event_id not in same
    digits = "9" * 400
    assert read(with_json("event_id", digits)).event_id == event_with(event_id=digits).event_id


def test_event_ids_are_those_of_earlier_versions() -> None:
    assert event_with(event_id="x").event_id == "9e7eb554-edbf-57d3-aa29-e633f26463de"
    assert event_with(event_id=None).event_id == "25e77016-7133-5f9b-bc26-5591719c057c"


def test_without_an_event_id_the_record_identifies_the_event() -> None:
    value = json.dumps({k: v for k, v in VALID.items() if k != "event_id"}).encode()
    places = [ORIGIN, ("other", 3, 1042), ("clicks", 4, 1042), ("clicks", 3, 1043)]
    ids = [parse(value, origin=place, latest=LATEST).event_id for place in places]
    ids += [parse(value + b" ", origin=ORIGIN, latest=LATEST).event_id]
    assert len(set(ids)) == len(ids)
    assert read(value).event_id == ids[0]
    assert UUID(ids[0]).version == 5


@pytest.mark.parametrize("absent", [None, ""])
def test_an_absent_event_id_is_no_repair(absent: Any) -> None:
    event = event_with(event_id=absent)
    assert UUID(event.event_id).version == 5
    assert (event.repaired, event.properties) == (None, None)


@pytest.mark.parametrize("value", [1.5, True, False, [], ["x"], {"$oid": "1"}])
def test_an_event_id_of_another_type_is_repaired(value: Any) -> None:
    event = event_with(event_id=value)
    assert UUID(event.event_id).version == 5
    assert event.repaired == ("event_id",)
    assert properties(event) == {"event_id": value}


# == What version 0.2 stored ====================================================================


def stored_by_0_2() -> list[dict[str, str]]:
    with gzip.open(STORED_BY_0_2, "rt", encoding="utf-8") as file:
        return [json.loads(text) for text in file]


def test_what_version_0_2_stored_is_read_to_the_same_time_id_and_visitor() -> None:
    rows = stored_by_0_2()
    assert len(rows) == 465
    for row in rows:
        event = event_or_refused_event(row["value"].encode())
        assert event is not None, row
        assert event.event_time.isoformat(timespec="microseconds") == row["event_time"], row
        assert (event.event_id, event.user_id) == (row["event_id"], row["user_id"]), row


def event_or_refused_event(value: bytes) -> Event | None:
    """Return the event of a record, also if only today's limits refuse it."""
    try:
        return read(value)
    except InvalidEventError as error:
        return error.event
