"""A short shopping visit in the format of other systems, read by the lines of its page in docs.

The visits were made for these tests, in the form in which each system publishes its records.
"""

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.services.databases import Query
from tests.services.scripts import PROJECT, RunScript

README = (PROJECT / "README.md").read_text()
FORMATS = (PROJECT / "docs" / "other-formats.md").read_text()
LINES = re.compile(r"^# (\w+): .*\nEVENT_FIELDS='(.+)'\nEVENT_TYPES='(.+)'$", re.M)
NAMES = {name: (fields, types) for name, fields, types in LINES.findall(FORMATS)}

SHOP = "https://shop.example.com"


def segment(seconds: int, call: dict[str, Any]) -> dict[str, Any]:
    page = {
        "url": f"{SHOP}/p/1",
        "path": "/p/1",
        "referrer": "https://search.example/",
        "title": "1",
    }
    context = {"ip": "203.0.113.7", "userAgent": "Mozilla/5.0", "locale": "en-GB", "page": page}
    return {
        "anonymousId": "0d5f9f2a-7a9f-4a52-9e9f-000000000001",
        "userId": None,
        "context": context,
        "integrations": {},
        "messageId": f"ajs-next-{seconds}",
        "timestamp": f"2025-11-22T10:00:{seconds:02}.123Z",
        **call,
    }


SEGMENT = [
    segment(1, {"type": "page", "name": "Home", "properties": {"url": f"{SHOP}/"}}),
    segment(2, {"type": "page", "name": "Product", "properties": {"url": f"{SHOP}/p/1"}}),
    segment(
        3,
        {
            "type": "track",
            "event": "Products Searched",
            "properties": {"query": "blue kettle"},
        },
    ),
    segment(
        4,
        {
            "type": "track",
            "event": "Product Added",
            "properties": {
                "product_id": "p1",
                "category": "kettles",
                "price": 18.99,
                "quantity": 2,
            },
        },
    ),
    segment(
        5,
        {
            "type": "track",
            "event": "Order Completed",
            "properties": {
                "order_id": "50314b8e9bcf000000000000",
                "total": 42.98,
                "revenue": 37.98,
                "shipping": 5,
                "currency": "EUR",
                "products": [{"product_id": "p1", "price": 18.99, "quantity": 2}],
            },
        },
    ),
]


def ga4(seconds: int, name: str, **columns: Any) -> dict[str, Any]:
    return {
        "event_date": "20251122",
        "event_timestamp": 1_763_805_600_000_000 + seconds * 1_000_000,
        "event_name": name,
        "event_params": [{"key": "page_location", "value": {"string_value": f"{SHOP}/p/1"}}],
        "user_pseudo_id": "1234567890.1763805600",
        "user_id": None,
        "device": {"category": "mobile", "language": "en-gb", "web_info": {"browser": "Chrome"}},
        "geo": {"country": "Germany", "city": "Berlin"},
        "page_location": f"{SHOP}/p/1",
        "page_referrer": None,
        "engagement_time_msec": 1_200,
        "ecommerce": None,
        "items": [],
        **columns,
    }


GA4 = [
    ga4(1, "page_view", page_location=f"{SHOP}/"),
    ga4(2, "page_view"),
    ga4(3, "view_search_results"),
    ga4(4, "add_to_cart", items=[{"item_id": "p1", "price": 18.99, "quantity": 2}]),
    ga4(5, "purchase", ecommerce={"transaction_id": "T-1", "purchase_revenue": 37.98}),
]


def posthog(seconds: int, event: str, **properties: Any) -> dict[str, Any]:
    return {
        "uuid": f"0199f7a2-6f6d-7cc1-8d0e-{seconds:012}",
        "event": event,
        "distinct_id": "0199f7a2-6f6d-7cc1-8d0e-6ddf2f6a2c11",
        "timestamp": f"2025-11-22T10:00:{seconds:02}.123000+00:00",
        "team_id": 1,
        "properties": {
            "$current_url": f"{SHOP}/p/1",
            "$referrer": "https://search.example/",
            "$device_type": "Mobile",
            "$ip": "203.0.113.7",
            **properties,
        },
    }


POSTHOG = [
    posthog(1, "$pageview", **{"$current_url": f"{SHOP}/"}),
    posthog(2, "$pageview"),
    posthog(3, "search", query="blue kettle"),
    posthog(4, "add_to_cart", product_id="p1", category="kettles", price=18.99, quantity=2),
    posthog(5, "purchase", order_id="T-1", product_id="p1", price=18.99, quantity=2),
]


def snowplow(seconds: int, name: str, **columns: Any) -> dict[str, Any]:
    return {
        "app_id": "shop",
        "event_id": f"c6ef3124-b53a-4b13-a233-{seconds:012}",
        "event_name": name,
        "collector_tstamp": f"2025-11-22T10:00:{seconds:02}.900Z",
        "derived_tstamp": f"2025-11-22T10:00:{seconds:02}.123Z",
        "user_id": None,
        "domain_userid": "bc2e92ec6c204a14",
        "user_ipaddress": "203.0.113.7",
        "useragent": "Mozilla/5.0",
        "page_url": f"{SHOP}/p/1",
        "page_referrer": "https://search.example/",
        "geo_country": "DE",
        "geo_city": "Berlin",
        **columns,
    }


SNOWPLOW_CART = {"sku": "p1", "category": "kettles", "unitPrice": 18.99, "quantity": 2}
SNOWPLOW = [
    snowplow(1, "page_view", page_url=f"{SHOP}/"),
    snowplow(2, "page_view"),
    snowplow(3, "site_search"),
    snowplow(
        4,
        "add_to_cart",
        unstruct_event_com_snowplowanalytics_snowplow_add_to_cart_1=SNOWPLOW_CART,
    ),
    snowplow(5, "transaction", tr_orderid="T-1", tr_total=42.98),
    snowplow(6, "transaction_item", ti_orderid="T-1", ti_sku="p1", ti_price=18.99, ti_quantity=2),
]


def retailrocket(seconds: int, event: str, order: Any = "") -> dict[str, Any]:
    return {
        "timestamp": 1_763_805_600_117 + seconds * 1_000,
        "visitorid": 257_597,
        "event": event,
        "itemid": 355_908,
        "transactionid": order,
    }


RETAILROCKET = [
    retailrocket(1, "view"),
    retailrocket(2, "view"),
    retailrocket(3, "addtocart"),
    retailrocket(4, "transaction", 4_000),
]


def rees46(seconds: int, event: str) -> dict[str, Any]:
    return {
        "event_time": f"2019-10-01 00:00:{seconds:02} UTC",
        "event_type": event,
        "product_id": 44_600_062,
        "category_id": 2_103_807_459_595_387_724,
        "category_code": "appliances.kitchen.kettle",
        "brand": "shiseido",
        "price": 35.79,
        "user_id": 541_312_140,
        "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
    }


REES46 = [rees46(1, "view"), rees46(2, "view"), rees46(3, "cart"), rees46(4, "purchase")]

# Records, event types, pages, orders, revenue.
VISITS: dict[str, tuple[list[dict[str, Any]], dict[str, int], int, int, str]] = {
    "Segment": (
        SEGMENT,
        {"page_view": 2, "search": 1, "add_to_cart": 1, "purchase": 1},
        *(1, 1, "37.98"),
    ),
    "GA4": (GA4, {"page_view": 2, "search": 1, "add_to_cart": 1, "purchase": 1}, 2, 1, "37.98"),
    "PostHog": (
        POSTHOG,
        {"page_view": 2, "search": 1, "add_to_cart": 1, "purchase": 1},
        *(2, 1, "37.98"),
    ),
    "Snowplow": (
        SNOWPLOW,
        {"page_view": 2, "site_search": 1, "add_to_cart": 1, "transaction": 1, "purchase": 1},
        *(2, 1, "37.98"),
    ),
    "retailrocket": (RETAILROCKET, {"page_view": 2, "add_to_cart": 1, "purchase": 1}, 0, 1, "0"),
    "REES46": (REES46, {"page_view": 2, "add_to_cart": 1, "purchase": 1}, 0, 1, "35.79"),
}


def test_the_readme_has_the_lines_of_every_format() -> None:
    assert NAMES.keys() == VISITS.keys()


@pytest.mark.parametrize("name", VISITS)
def test_a_shopping_visit_in_another_format_is_read_by_the_lines_of_the_readme(
    name: str, run_script: RunScript, query: Query
) -> None:
    visit, types, pages, orders, revenue = VISITS[name]
    fields, event_types = NAMES[name]
    names = {"EVENT_FIELDS": fields, "EVENT_TYPES": event_types}
    recorded = "".join(json.dumps(record) + "\n" for record in visit)
    done(run_script("producer.py", "--replay", "-", stdin=recorded))
    done(run_script("consumer.py", "--drain", **names))
    report = json.loads(done(run_script("summary.py", "--json", **names)))
    assert {each["event_type"]: each["events"] for each in report["event_types"]} == types
    overview = report["overview"]
    assert (overview["sessions"], overview["visitors"], overview["orders"]) == (1, 1, orders)
    assert Decimal(overview["revenue"]) == Decimal(revenue)
    assert [step["sessions"] for step in report["funnel"]] == [1, 1, 1, 1]
    assert len(report["pages"]) == pages
    engaged = Decimal(6) if name == "GA4" else None
    assert query("SELECT engaged_seconds FROM session_metrics") == [(engaged,)]
    done(run_script("summary.py", "--verify", **names))


def test_the_sender_in_python_of_the_readme_delivers_an_event(
    run_script: RunScript, environment: dict[str, str], tmp_path: Path
) -> None:
    (code,) = re.findall(r"^```python\n(# pip install kafka-python\n.+?)^```", README, re.M | re.S)
    code = code.replace("localhost:9092", environment["KAFKA_BOOTSTRAP_SERVERS"])
    code = code.replace("clickstream-events", environment["KAFKA_TOPIC"])
    done(run_script("create_schema.py"))
    sender = tmp_path / "sender.py"
    sender.write_text(code)
    done(
        subprocess.run(
            [sys.executable, sender], capture_output=True, text=True, timeout=120, check=False
        )
    )
    done(run_script("consumer.py", "--drain"))
    report = json.loads(done(run_script("summary.py", "--json")))
    assert (report["overview"]["events"], report["overview"]["visitors"]) == (1, 1)


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout
