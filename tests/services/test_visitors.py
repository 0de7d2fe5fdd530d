"""The views of visitors and conversions show what plain statements find in events and sessions."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from clickstream.clients.postgres import Connection
from clickstream.model.sessions import Rule
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import event, random_event

README = Path(__file__).parents[2] / "README.md"
RULE = Rule(timedelta(minutes=30), frozenset(), frozenset())
PAGES = [
    None, "https://shop.example/", "https://shop.example/?utm_source=newsletter&utm_medium=email",
    "https://shop.example/?gclid=1",
]  # fmt: skip
REFERRERS = [None, "https://www.google.com/", "https://t.co/x", "https://shop.example/cart"]
ZONE = "Pacific/Auckland"
DAYS = 4
# Differences in both directions: none of the two has a row that the other lacks.
DIFFERENCES = "(({first}) EXCEPT ALL ({second})) UNION ALL (({second}) EXCEPT ALL ({first}))"
NUMBERED = """
    SELECT session_id, row_number() OVER visits, row_number() OVER visits = 1
    FROM session_metrics
    WINDOW visits AS (PARTITION BY user_id ORDER BY first_event_timestamp, first_event_id)
"""
SHOWN_NUMBERS = "SELECT session_id, session_number, is_new_visitor FROM session_sources"
# A session has no gap of a day, so each of the days that it touches has an event.
VISITORS = f"""
    SELECT user_id, min(event_time), max(event_time), count(*),
           count(DISTINCT (event_time AT TIME ZONE '{ZONE}')::date)
    FROM clickstream_events GROUP BY user_id
"""
SHOWN_VISITORS = "SELECT user_id, first_seen, last_seen, events, active_days FROM visitors"
TOTALS = """
    SELECT user_id, count(*), sum(orders_count), sum(total_revenue) FROM session_metrics
    GROUP BY user_id
"""
SHOWN_TOTALS = "SELECT user_id, sessions, orders, revenue FROM visitors"
ENDS = """
    SELECT DISTINCT user_id,
           first_value(ARRAY[source, medium, channel]) OVER visits,
           last_value(ARRAY[source, medium, channel]) OVER visits
    FROM session_sources
    WINDOW visits AS (PARTITION BY user_id ORDER BY session_number
                      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
"""
SHOWN_ENDS = """
    SELECT user_id, ARRAY[first_source, first_medium, first_channel],
           ARRAY[last_source, last_medium, last_channel]
    FROM visitors
"""
ORDERS = """
    SELECT session_id, orders_count, total_revenue, source, channel
    FROM session_metrics JOIN session_sources USING (session_id, orders_count, total_revenue)
    WHERE orders_count > 0
"""
SHOWN_ORDERS = """
    SELECT session_id, count(*), coalesce(sum(value), 0), min(source), max(channel)
    FROM conversions WHERE event_type = 'purchase' GROUP BY session_id
"""
LOGINS = "SELECT event_time, user_id FROM clickstream_events WHERE event_type = 'login'"
SHOWN_LOGINS = "SELECT conversion_time, user_id FROM conversions WHERE event_type = 'login'"


def visit_events(number: int) -> list[Any]:
    """Return events of a few visitors, on some days, with sessions that go over midnight."""
    chance = Random(3)
    events = [
        random_event(
            f"visitor-{chance.randrange(25)}",
            chance.randrange(DAYS) * 86_400 + chance.randrange(9) * 900 + chance.random(),
            chance,
            page_url=chance.choice(PAGES),
            referrer=chance.choice(REFERRERS),
        )
        for _ in range(number)
    ]
    for each in events:
        if each["event_type"] != "purchase":
            each["order_id"] = None
    return events


def test_visitors_and_conversions_are_what_events_and_sessions_say(
    transactions: Connection, query: Query
) -> None:
    Batches(transactions, RULE).store([visit_events(2_000)])
    query("UPDATE report_settings SET time_zone = %s", (ZONE,))
    query("INSERT INTO conversion_events VALUES ('login')")
    for first, second in (
        (NUMBERED, SHOWN_NUMBERS),
        (VISITORS, SHOWN_VISITORS),
        (TOTALS, SHOWN_TOTALS),
        (ENDS, SHOWN_ENDS),
        (ORDERS, SHOWN_ORDERS),
        (LOGINS, SHOWN_LOGINS),
    ):
        assert len(query(first)) > 20
        assert query(DIFFERENCES.format(first=first, second=second)) == [], second


def test_the_query_of_the_readme_counts_all_ids_of_an_account_as_one_person(
    transactions: Connection, query: Query
) -> None:
    (persons,) = re.findall(r"^```sql\n(WITH accounts.+?)^```", README.read_text(), re.M | re.S)
    Batches(transactions, RULE).store(
        [
            [
                event("phone", 0),
                event("phone", 60, "login", account_id=7),
                event("phone", 90, "purchase", price=2, order_id="o1"),
                event("laptop", 0, "purchase", price=3, order_id="o2", account_id="7"),
                event("laptop", 9_000),
                event("guest", 0, "purchase", price=1, order_id="o3"),
            ]
        ]
    )
    assert query(persons) == [("account 7", 2, 3, Decimal(5)), ("visitor guest", 1, 1, Decimal(1))]
