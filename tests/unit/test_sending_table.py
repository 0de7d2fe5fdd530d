"""A row of a table is a JSON object of its cells, by the names of their columns."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from clickstream.model.parse import parse
from clickstream.sending.table import read_table

LATEST = datetime(2030, 1, 1, tzinfo=UTC)


def read(content: bytes) -> list[tuple[int, Any]]:
    rows = read_table(",", iter([content]), 1_000)
    return [(number, json.loads(value)) for number, value in rows]


def test_rows_have_the_number_of_their_first_line() -> None:
    content = b'\na,b\n1,"x\ny"\n\n2,z\n'
    assert read(content) == [(3, {"a": "1", "b": "x\ny"}), (6, {"a": "2", "b": "z"})]


def test_an_empty_cell_is_no_field() -> None:
    assert read(b'a,b,c\n1,,""\n,,3\n') == [(2, {"a": "1"}), (3, {"c": "3"})]


def test_columns_without_a_name_and_cells_beyond_the_header_are_kept() -> None:
    assert read(b",user_id\n0,a,b,c\n") == [
        (2, {"column_1": "0", "user_id": "a", "column_3": "b", "column_4": "c"})
    ]


def test_blanks_around_names_are_ignored() -> None:
    assert read(b" user_id , price \na, 1\n") == [(2, {"user_id": "a", "price": " 1"})]


def test_a_header_alone_has_no_events() -> None:
    assert read(b"user_id,event_type\n") == []


def test_a_cell_in_another_encoding_is_an_event_with_a_repair() -> None:
    content = "event_type,timestamp,user_id,city\nclick,1735689600,a,Zürich\n".encode("latin-1")
    ((_, value),) = read_table(",", iter([content]), 1_000)
    event = parse(value, origin=("t", 0, 0), latest=LATEST)
    assert (event.city, event.repaired) == ("Z\N{REPLACEMENT CHARACTER}rich", ("city",))


@pytest.mark.parametrize("name", ["timestamp", "price", "success", "quantity"])
def test_numbers_and_booleans_are_read_from_their_text(name: str) -> None:
    cells = {"timestamp": "1735689600", "price": "19.99", "success": "True", "quantity": "2"}
    names, row = ",".join(cells), ",".join(cells.values())
    content = f"event_type,user_id,{names}\npurchase,1,{row}\n".encode()
    ((_, value),) = read_table(",", iter([content]), 1_000)
    event = parse(value, origin=("t", 0, 0), latest=LATEST)
    expected = {"timestamp": "2025-01-01 00:00:00+00:00", "price": "19.99", "success": "True"}
    column = "event_time" if name == "timestamp" else name
    assert str(getattr(event, column)) == expected.get(name, "2")
    assert event.repaired is None
