"""The index templates map every field and have the patterns that Terraform allows."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import get_type_hints

from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.templates import EVENT_MAPPING, SESSION_MAPPING, templates
from clickstream.model import events, sessions

NAMES = IndexNames("clickstream")
ROOT = Path(__file__).parents[2]
OTHER_NAMES = {"event_time": "timestamp"}
TYPES = {
    str: "keyword",
    datetime: "date",
    bool: "boolean",
    int: "integer",
    Decimal: "scaled_float",
}
SPECIAL_TYPES = {"ip_address": "ip", "properties": "object", "repaired": "keyword"}


def python_type(hint: type) -> type:
    """Return the type without None: `str` for `str | None`."""
    return getattr(hint, "__args__", (hint,))[0]


def test_every_field_of_an_event_has_the_mapping_of_its_type() -> None:
    wanted = {
        OTHER_NAMES.get(name, name): SPECIAL_TYPES.get(name) or TYPES[python_type(hint)]
        for name, hint in get_type_hints(events.Event).items()
    }
    found = {name: mapping["type"] for name, mapping in EVENT_MAPPING.items()}
    added = {"session_id": "keyword", "ingest_delay_seconds": "double"}
    assert found == {**wanted, **added}


def test_every_column_of_session_metrics_has_a_mapping() -> None:
    not_in_the_model = {"session_duration_minutes", "closed_at"}
    assert SESSION_MAPPING.keys() == {*sessions.SESSION_COLUMNS} | not_in_the_model


def test_texts_that_people_search_have_a_text_subfield() -> None:
    fields = {**SESSION_MAPPING, **EVENT_MAPPING}
    with_subfields = {name for name, mapping in fields.items() if "fields" in mapping}
    assert with_subfields == {"page_url", "user_agent", "search_query", "search_queries"}


def test_events_cannot_add_fields_to_the_mapping() -> None:
    for template in templates(NAMES).values():
        assert template["template"]["mappings"]["dynamic"] == "false"
    objects = [
        mapping
        for mapping in (*EVENT_MAPPING.values(), *SESSION_MAPPING.values())
        if mapping["type"] not in {"ip", "keyword", "double", "long", *TYPES.values()}
    ]
    assert objects == [{"type": "object", "enabled": False}] * 2


def test_the_longest_keyword_is_within_the_limit_of_a_lucene_term() -> None:
    keywords = [
        mapping
        for mapping in (*EVENT_MAPPING.values(), *SESSION_MAPPING.values())
        if mapping["type"] == "keyword"
    ]
    assert max(mapping["ignore_above"] for mapping in keywords) * 3 <= 32_766


def test_the_patterns_are_those_that_terraform_allows() -> None:
    patterns = {pattern for each in templates(NAMES).values() for pattern in each["index_patterns"]}
    assert patterns == {*NAMES.patterns}
    terraform = (ROOT / "terraform" / "opensearch.tf").read_text()
    assert patterns == set(re.findall(r'"(clickstream-[a-z]+\*)"', terraform))
