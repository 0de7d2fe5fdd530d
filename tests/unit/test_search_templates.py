"""The index templates name every field, and what the doctor and Terraform expect."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import get_type_hints

from clickstream.doctor import opensearch_checks
from clickstream.indexer.templates import EVENT_FIELDS, SESSION_FIELDS, TEMPLATES
from clickstream.model import events, sessions

ROOT = Path(__file__).parents[2]
NAMED_OTHERWISE = {"event_time": "timestamp"}
TYPES = {
    str: "keyword",
    datetime: "date",
    bool: "boolean",
    int: "integer",
    Decimal: "scaled_float",
}
OF_THEIR_OWN = {"ip_address": "ip", "properties": "object"}


def python_type(hint: type) -> type:
    """Of `str | None`: str."""
    return getattr(hint, "__args__", (hint,))[0]


def test_every_field_of_an_event_is_mapped_by_its_type() -> None:
    wanted = {
        NAMED_OTHERWISE.get(name, name): OF_THEIR_OWN.get(name) or TYPES[python_type(hint)]
        for name, hint in get_type_hints(events.Event).items()
    }
    found = {name: mapping["type"] for name, mapping in EVENT_FIELDS.items()}
    assert found == {**wanted, "session_id": "keyword"}


def test_every_metric_of_a_session_is_mapped() -> None:
    of_the_table_alone = {"session_duration_minutes", "closed_at"}
    assert SESSION_FIELDS.keys() == {*sessions.COLUMNS} | of_the_table_alone


def test_what_people_search_has_words_too() -> None:
    fields = {**SESSION_FIELDS, **EVENT_FIELDS}
    with_words = {name for name, mapping in fields.items() if "fields" in mapping}
    assert with_words == {"page_url", "user_agent", "search_query", "search_queries"}


def test_no_traffic_adds_fields() -> None:
    for template in TEMPLATES.values():
        assert template["template"]["mappings"]["dynamic"] == "false"
    objects = [
        mapping
        for mapping in (*EVENT_FIELDS.values(), *SESSION_FIELDS.values())
        if mapping["type"] not in {"ip", "keyword", "double", "long", *TYPES.values()}
    ]
    assert objects == [{"type": "object", "enabled": False}] * 2


def test_the_longest_keyword_is_a_term_that_lucene_takes() -> None:
    keywords = [
        mapping
        for mapping in (*EVENT_FIELDS.values(), *SESSION_FIELDS.values())
        if mapping["type"] == "keyword"
    ]
    assert max(mapping["ignore_above"] for mapping in keywords) * 3 <= 32_766


def test_the_patterns_are_those_of_the_doctor_and_of_terraform() -> None:
    patterns = {pattern for each in TEMPLATES.values() for pattern in each["index_patterns"]}
    assert patterns == {*opensearch_checks.PATTERNS}
    terraform = (ROOT / "terraform" / "opensearch.tf").read_text()
    assert patterns == set(re.findall(r'"(clickstream-[a-z]+\*)"', terraform))
