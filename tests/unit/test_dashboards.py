"""The saved objects for OpenSearch Dashboards use only fields and objects that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from clickstream.admin.dashboards import SAVED_OBJECTS_FILE, saved_objects
from clickstream.indexer.templates import EVENT_MAPPING, SESSION_MAPPING

OBJECTS = [json.loads(line) for line in SAVED_OBJECTS_FILE.read_text().splitlines()]
MAPPINGS = {"clickstream-events": EVENT_MAPPING, "clickstream-sessions": SESSION_MAPPING}
AGGREGATED = {"keyword", "date", "boolean", "integer", "long", "double", "ip", "scaled_float"}


def strings(value: object) -> Iterator[str]:
    """Yield every text of a JSON value, also of JSON inside of texts."""
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            yield from strings(json.loads(value))


def index_of(saved: dict[str, Any]) -> str:
    (index,) = (each["id"] for each in saved["references"] if each["type"] == "index-pattern")
    return str(index)


def of_type(kind: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["type"] == kind]


def named(saved: dict[str, Any]) -> str:
    return str(saved["id"])


def test_every_reference_is_to_an_object_of_the_file() -> None:
    present = {(each["type"], each["id"]) for each in OBJECTS}
    used = {(each["type"], each["id"]) for saved in OBJECTS for each in saved["references"]}
    assert used <= present
    assert len(present) == len(OBJECTS)


@pytest.mark.parametrize("saved", of_type("index-pattern"), ids=named)
def test_an_index_pattern_has_a_time_field_that_is_a_date(saved: dict[str, Any]) -> None:
    mapping = MAPPINGS[saved["id"]]
    assert mapping[saved["attributes"]["timeFieldName"]]["type"] == "date"


@pytest.mark.parametrize("saved", of_type("visualization"), ids=named)
def test_a_visualization_aggregates_fields_that_are_indexed(saved: dict[str, Any]) -> None:
    state = json.loads(saved["attributes"]["visState"])
    if state["type"] == "timelion":
        assert "index=clickstream-events-*, timefield=timestamp" in state["params"]["expression"]
        return
    mapping = MAPPINGS[index_of(saved)]
    assert state["aggs"]
    for each in state["aggs"]:
        if field := each["params"].get("field"):
            assert mapping[field]["type"] in AGGREGATED, field
    queries = [text for text in strings(saved["attributes"]) if re.fullmatch(r"\w+: \S+", text)]
    assert {text.split(":")[0] for text in queries} <= mapping.keys()


@pytest.mark.parametrize("saved", of_type("search"), ids=named)
def test_a_saved_search_shows_and_sorts_by_fields_of_the_mapping(saved: dict[str, Any]) -> None:
    mapping = MAPPINGS[index_of(saved)]
    sorted_by = {field for field, _ in saved["attributes"]["sort"]}
    assert {*saved["attributes"]["columns"], *sorted_by} <= mapping.keys()


def test_the_dashboard_shows_every_visualization_and_search_without_overlap() -> None:
    (dashboard,) = of_type("dashboard")
    shown = {each["id"] for each in dashboard["references"]}
    assert shown == {each["id"] for each in of_type("visualization") + of_type("search")}
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    assert {each["panelRefName"] for each in panels} == {
        each["name"] for each in dashboard["references"]
    }
    cells = [cell for each in panels for cell in _cells(each["gridData"])]
    assert len(cells) == len(set(cells))


def test_objects_of_another_prefix_have_other_ids_and_show_its_indexes() -> None:
    """Otherwise the import of one database would overwrite the dashboard of another."""
    assert saved_objects("clickstream") == SAVED_OBJECTS_FILE.read_text()
    renamed = [json.loads(line) for line in saved_objects("shop_2").splitlines()]
    for ours, theirs in zip(OBJECTS, renamed, strict=True):
        assert theirs["id"] == ours["id"].replace("clickstream", "shop_2")
    texts = {text for each in renamed for text in strings(each)}
    assert not [text for text in texts if re.search("(^|=)clickstream", text)]
    titles = {each["attributes"]["title"] for each in renamed if each["type"] == "index-pattern"}
    assert titles == {"shop_2-events-*", "shop_2-sessions"}
    assert any("index=shop_2-events-*, timefield" in text for text in texts)
    present = {(each["type"], each["id"]) for each in renamed}
    assert {(each["type"], each["id"]) for one in renamed for each in one["references"]} <= present


def _cells(grid: dict[str, Any]) -> list[tuple[int, int]]:
    columns = range(grid["x"], grid["x"] + grid["w"])
    return [(x, y) for x in columns for y in range(grid["y"], grid["y"] + grid["h"])]
