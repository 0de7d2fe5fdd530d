"""Index templates: settings and mappings of the indexes of events and sessions.

The fields are those of an event and the columns of session_metrics. A field without a mapping here
is kept in the document and not indexed, so events cannot add fields to the mapping.
"""

from typing import Any

from opensearchpy import OpenSearch

from clickstream.indexer.index_names import IndexNames
from clickstream.model.events import MAX_TEXT_CHARACTERS, TEXT_FIELDS

MAPPING_VERSION = 3
# Higher than that of a template for all indexes, so that ours is applied.
PRIORITY = 100

# The longest text of an event. At three bytes a character it is within the limit of a Lucene term.
KEYWORD = {"type": "keyword", "ignore_above": MAX_TEXT_CHARACTERS}
SEARCHABLE = {**KEYWORD, "fields": {"text": {"type": "text"}}}
DATE = {"type": "date"}
BOOLEAN = {"type": "boolean"}
INTEGER = {"type": "integer"}
LONG = {"type": "long"}
DOUBLE = {"type": "double"}
SECONDS = {"type": "scaled_float", "scaling_factor": 1_000}
IP = {"type": "ip"}
MONEY = {"type": "scaled_float", "scaling_factor": 10_000}
# Not flat_object, which refuses the whole document if one value is longer than 32,766 bytes.
NOT_INDEXED = {"type": "object", "enabled": False}

EVENT_MAPPING: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("event_id", "session_id", "event_type", "user_id", *TEXT_FIELDS), KEYWORD),
    **dict.fromkeys(("page_url", "user_agent", "search_query"), SEARCHABLE),
    "timestamp": DATE,
    "ip_address": IP,
    "success": BOOLEAN,
    "price": MONEY,
    "quantity": INTEGER,
    "engaged_ms": INTEGER,
    # From the event's time to its row in PostgreSQL.
    "ingest_delay_seconds": DOUBLE,
    "properties": NOT_INDEXED,
    "repaired": KEYWORD,
}

SESSION_MAPPING: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "session_id",
            "user_id",
            "first_event_id",
            "last_event_id",
            "unique_pages",
            "landing_page",
            "entry_referrer",
            "exit_page",
            "products_viewed",
            "referrers",
            "device_type",
            "country",
            "close_reason",
        ),
        KEYWORD,
    ),
    **dict.fromkeys(("user_agent", "search_queries"), SEARCHABLE),
    **dict.fromkeys(("first_event_timestamp", "last_event_timestamp", "closed_at"), DATE),
    **dict.fromkeys(("total_events", "orders_count"), LONG),
    **dict.fromkeys(
        ("unique_pages_count", "products_viewed_count", "unique_referrers_count"), INTEGER
    ),
    "session_duration_minutes": DOUBLE,
    "total_revenue": MONEY,
    "ip_address": IP,
    "is_bounce": BOOLEAN,
    "engaged_seconds": SECONDS,
    "event_type_counts": NOT_INDEXED,
}


def _template(pattern: str, fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "index_patterns": [pattern],
        "priority": PRIORITY,
        "template": {
            "settings": {"index": {"number_of_shards": "1"}},
            "mappings": {
                "_meta": {"version": MAPPING_VERSION},
                "dynamic": "false",
                "properties": fields,
            },
        },
    }


def templates(names: IndexNames) -> dict[str, dict[str, Any]]:
    """Return the templates by their names."""
    event_pattern, session_pattern = names.patterns
    return {
        names.events: _template(event_pattern, EVENT_MAPPING),
        names.sessions: _template(session_pattern, SESSION_MAPPING),
    }


def put(client: OpenSearch, names: IndexNames) -> None:
    """Create or replace the templates; existing indexes keep their mapping.

    Raises OpenSearchException.
    """
    for name, template in templates(names).items():
        client.indices.put_index_template(name=name, body=template)
