"""One session or the sessions of one visitor in a terminal of any width, or as plain text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from clickstream.durations import format_duration, format_minute, format_time, in_zone
from clickstream.plurals import plural
from clickstream.report.fitting import cut_text, facts_table, indented, plain_table, title
from clickstream.report.number_format import minutes, money, number
from clickstream.report.sections import Facts, Section
from clickstream.report.session_detail import SessionDetail, SessionEvent
from clickstream.report.terminal import render
from clickstream.report.visitor_detail import VisitorDetail
from clickstream.untrusted_text import clip

FACT_CHARACTERS = 300
# Below this width an event takes two lines.
MIN_EVENT_LINE = 70
MAX_TYPE_WIDTH = 20


def session_parts(detail: SessionDetail) -> Iterator[RenderableType]:
    """Yield the parts of one session: why it began and ended, its metrics, its events."""
    yield title(f"Session {detail.metrics['session_id']}")
    yield indented(facts_table(_session_facts(detail)))
    yield Text()
    yield title("Events")
    yield indented(Events(detail.events, detail.time_zone))
    hidden = detail.metrics["total_events"] - len(detail.events)
    if hidden > 0:
        yield Text(f"  ... and {hidden:,} more", style="dim")


def visitor_parts(detail: VisitorDetail) -> Iterator[RenderableType]:
    """Yield the parts of one visitor: the totals, and the latest sessions with their ids."""
    yield render(_visitor_section(detail), bars=False)
    hidden = detail.sessions - len(detail.latest_sessions)
    if hidden > 0:
        yield Text(f"  ... and {hidden:,} before them", style="dim")


def _visitor_section(detail: VisitorDetail) -> Section:
    facts = [
        ("sessions", number(detail.sessions)),
        ("events", number(detail.events)),
        ("revenue", f"{money(detail.revenue)} in {_orders(detail.orders)}"),
        ("first event", format_time(detail.first_event, detail.time_zone)),
        ("last event", format_time(detail.last_event, detail.time_zone)),
    ]
    return Section(
        f"Visitor {clip(detail.user_id, FACT_CHARACTERS)}",
        facts,
        columns=("session", "last event", "duration", "events"),
        rows=[
            (
                each.session_id,
                format_minute(each.last_event_timestamp, detail.time_zone),
                minutes(each.session_duration_minutes),
                number(each.total_events),
            )
            for each in detail.latest_sessions
        ],
        whole_names=True,
    )


def _session_facts(detail: SessionDetail) -> Facts:
    metrics, zone = detail.metrics, detail.time_zone
    status = [
        ("visitor", metrics["user_id"]),
        ("began", f"{format_time(metrics['first_event_timestamp'], zone)}: {detail.began}"),
        ("last event", format_time(metrics["last_event_timestamp"], zone)),
        ("ended", detail.ended),
        ("duration", minutes(metrics["session_duration_minutes"])),
        ("attention", _attention(metrics["engaged_seconds"])),
        ("events", f"{number(metrics['total_events'])}: {_counts(metrics['event_type_counts'])}"),
        ("bounce", "yes" if metrics["is_bounce"] else "no"),
        ("revenue", f"{money(metrics['total_revenue'])} in {_orders(metrics['orders_count'])}"),
        ("pages", f"{metrics['unique_pages_count']} different"),
        ("landing page", metrics["landing_page"]),
        ("came from", metrics["entry_referrer"]),
        ("exit page", metrics["exit_page"]),
        ("products", f"{metrics['products_viewed_count']} viewed"),
        ("searches", ", ".join(metrics["search_queries"])),
        ("referrers", ", ".join(metrics["referrers"])),
        ("device", metrics["device_type"]),
        ("country", metrics["country"]),
        ("address", metrics["ip_address"]),
        ("user agent", metrics["user_agent"]),
    ]
    return [(name, clip(value, FACT_CHARACTERS)) for name, value in status if value]


def _attention(seconds: Decimal | None) -> str | None:
    return None if seconds is None else minutes(float(seconds) / 60)


def _orders(orders: int) -> str:
    return f"{number(orders)} {plural(orders, 'order')}"


def _counts(types: dict[str, int]) -> str:
    ordered = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered)


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a session, each in one line, or in two lines if the width is small."""

    events: Sequence[SessionEvent]
    zone: ZoneInfo

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the events for the width of the options."""
        rows = [
            (f"{in_zone(event.event_time, self.zone):%Y-%m-%d %H:%M:%S.%f}"[:-3], passed, event)
            for event, passed in zip(self.events, _passed(self.events), strict=True)
        ]
        if options.max_width < MIN_EVENT_LINE:
            for time, passed, event in rows:
                yield cut_text("  ".join(filter(None, (time, passed))))
                yield indented(
                    cut_text(", ".join(filter(None, (event.event_type, _details(event)))))
                )
            return
        table = plain_table()
        table.add_column(f"time ({self.zone.key})", no_wrap=True)
        table.add_column("after", no_wrap=True, justify="right")
        table.add_column("type", no_wrap=True, overflow="ellipsis", max_width=MAX_TYPE_WIDTH)
        table.add_column("details")
        for time, passed, event in rows:
            table.add_row(time, passed, cut_text(event.event_type), cut_text(_details(event)))
        yield table


def _passed(events: Sequence[SessionEvent]) -> Iterator[str]:
    """Yield how long each event is after the one before; nothing for the first."""
    before = None
    for event in events:
        yield "" if before is None else _milliseconds(event.event_time - before)
        before = event.event_time


def _milliseconds(length: timedelta) -> str:
    return format_duration(timedelta(milliseconds=round(length / timedelta(milliseconds=1))))


def _details(event: SessionEvent) -> str:
    """Describe an event in one line: page, referrer, search query, product, order."""
    parts = (
        event.page_url,
        f"from {event.referrer}" if event.referrer else None,
        f'"{event.search_query}"' if event.search_query else None,
        event.product_id,
        f"{event.quantity or 1} x {event.price}" if event.price is not None else None,
        f"order {event.order_id}" if event.order_id else None,
        "failed" if event.success is False else None,
    )
    return ", ".join(part for part in parts if part)
