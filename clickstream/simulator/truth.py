"""What a perfect consumer must store of the simulated events, worked out beside them.

The generator knows each visitor's events in the order in which they happened, so a session is a
run of them, and everything about it can be told without a consumer: that is the point. The rule
and the meaning of the metrics are those that the tables promise.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from clickstream.errors import UserError
from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND, Event, timestamp

VERSION = 1
SHOWN = 1_000
COUNTED = 10_000
ENGAGED_AFTER = 10 * SECOND
PRODUCT_VIEWS = frozenset(("page_view", "click", "hover", "scroll", "add_to_cart"))
OF_THE_VISITOR = ("user_agent", "ip_address", "device_type", "country")


class _Step(NamedTuple):
    due: int
    time: int
    payload: dict[str, Any]


@dataclass(slots=True)
class _Session:
    first: _Step
    last: _Step
    types: Counter[str] = field(default_factory=Counter)
    pages: set[str] = field(default_factory=set)
    landing_page: str | None = None
    exit_page: str | None = None
    cents: int = 0
    orders: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    searches: set[str] = field(default_factory=set)
    referrers: set[str] = field(default_factory=set)

    def add(self, step: _Step) -> None:
        """Take the visitor's next event."""
        payload = step.payload
        kind = payload["event_type"]
        self.last = step
        self.types[kind] += 1
        page = payload["page_url"]
        self.pages.add(page)
        self.landing_page = self.landing_page or page
        self.exit_page = page
        if "referrer" in payload:
            self.referrers.add(payload["referrer"])
        if "product_id" in payload and kind in PRODUCT_VIEWS:
            self.products.add(payload["product_id"])
        if kind == "purchase":
            self.cents += round(payload["price"] * 100) * payload["quantity"]
            self.orders.add(payload["order_id"])
        elif kind == "search":
            self.searches.add(payload["search_query"])

    def metrics(self) -> dict[str, Any]:
        """The session by the column names of session_metrics."""
        first, last = self.first.payload, self.last.payload
        engaged = (
            self.last.time - self.first.time > ENGAGED_AFTER
            or self.types["purchase"] > 0
            or self.types["page_view"] > 1
        )
        return {
            "user_id": first["user_id"],
            "first_event_timestamp": timestamp(self.first.time),
            "last_event_timestamp": timestamp(self.last.time),
            "first_event_id": first["event_id"],
            "last_event_id": last["event_id"],
            "total_events": self.types.total(),
            "event_type_counts": {kind: self.types[kind] for kind in _shown(self.types)},
            "unique_pages": _shown(self.pages),
            "unique_pages_count": _counted(self.pages),
            "landing_page": self.landing_page,
            "exit_page": self.exit_page,
            "total_revenue": f"{self.cents // 100}.{self.cents % 100:02d}00",
            "orders_count": _counted(self.orders),
            "products_viewed": _shown(self.products),
            "products_viewed_count": _counted(self.products),
            "search_queries": _shown(self.searches),
            "referrers": _shown(self.referrers),
            "unique_referrers_count": _counted(self.referrers),
            **{name: first[name] for name in OF_THE_VISITOR},
            "is_bounce": not engaged,
        }


def _shown(values: Iterable[str]) -> list[str]:
    """The smallest by code point."""
    return sorted(values)[:SHOWN]


def _counted(values: set[str]) -> int:
    return min(len(values), COUNTED)


class Truth:
    """Follows the events and writes the truth file, each session on a line of its own.

    Sessions that nothing can join any more go to a temporary file beside it, one a line; memory
    holds the open ones only. Raises UserError where the folder cannot be written to.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self._timeout = settings.session_timeout_seconds * SECOND
        self._starts = settings.session_start_events
        self._ends = settings.session_end_events
        self._events = 0
        # By visitor, those with the oldest last event first.
        self._open: dict[bytes, _Session] = {}
        if path.is_dir():
            raise UserError(f"cannot write {path}: it is a folder; give --truth a file")
        try:
            self._closed = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed with the process
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; check --truth") from None

    def follow(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass the events on, in the order in which they happened, and take note of each."""
        for event in events:
            self._add(event)
            yield event

    def write(self, *, duplicates: int, rejected: dict[str, int]) -> None:
        """Write the file, in one go: its readers see all of it or nothing."""
        for session in self._open.values():
            self._close(session)
        self._open.clear()
        head = {
            "version": VERSION,
            "rule": {
                "timeout_seconds": self._timeout // SECOND,
                "start_events": self._starts,
                "end_events": self._ends,
            },
            "events": self._events,
            "duplicates": duplicates,
            "rejected": dict(sorted(rejected.items())),
        }
        try:
            self._write(orjson.dumps(head))
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from None

    def _write(self, head: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f"{self._path.name}.", dir=self._path.parent)
        try:
            with open(descriptor, "wb") as file, self._closed:
                file.write(head[:-1] + b',"sessions":[')
                self._closed.seek(0)
                for number, line in enumerate(self._closed):
                    file.write((b",\n" if number else b"\n") + line.rstrip())
                file.write(b"\n]}\n")
            os.replace(name, self._path)
        except OSError:
            os.unlink(name)
            raise

    def _add(self, event: Event) -> None:
        self._events += 1
        self._close_old(event.due)
        step = _Step(event.due, event.time, event.payload)
        session = self._open.pop(event.key, None)
        if session is None or self._starts_new(session, step):
            if session:
                self._close(session)
            session = _Session(step, step)
        session.add(step)
        self._open[event.key] = session

    def _starts_new(self, session: _Session, step: _Step) -> bool:
        return (
            step.time - session.last.time > self._timeout
            or step.payload["event_type"] in self._starts
            or session.last.payload["event_type"] in self._ends
        )

    def _close_old(self, now: int) -> None:
        """Close what is past the timeout. A visitor's clock is off by the same all the time."""
        while self._open:
            key, session = next(iter(self._open.items()))
            if now - session.last.due <= self._timeout:
                return
            self._close(self._open.pop(key))

    def _close(self, session: _Session) -> None:
        self._closed.write(orjson.dumps(session.metrics()) + b"\n")
