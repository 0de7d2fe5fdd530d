"""The truth file: the sessions that a correct consumer must store for the simulated events.

The simulator knows each visitor's events in order, so it computes the sessions and their metrics
independently, without the consumer's code. The session rule and the metrics are those documented
for the tables.
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
from clickstream.simulator.event_json import SECOND, SimulatedEvent, timestamp
from clickstream.simulator.identities import BOT_USER_AGENTS
from clickstream.simulator.traffic_sources import TrafficSource

TRUTH_VERSION = 1
MAX_LISTED = 1_000
MAX_LISTED_BYTES = 256 * 1024
MAX_COUNTED = 10_000
MIN_ENGAGED_TIME = 10 * SECOND
PRODUCT_VIEWS = frozenset(("page_view", "click", "hover", "scroll", "add_to_cart"))
VISITOR_FIELDS = ("user_agent", "ip_address", "device_type", "country")


class _Payload(NamedTuple):
    """A simulated event with its fields parsed."""

    due: int
    time: int
    fields: dict[str, Any]


@dataclass(slots=True)
class _Session:
    """A session with the values that its metrics are computed from.

    number: its number among the sessions of its visitor, from 1.
    """

    first: _Payload
    last: _Payload
    source: TrafficSource
    number: int
    types: Counter[str] = field(default_factory=Counter)
    pages: set[str] = field(default_factory=set)
    landing_page: str | None = None
    entry_referrer: str | None = None
    exit_page: str | None = None
    cents: int = 0
    orders: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    searches: set[str] = field(default_factory=set)
    referrers: set[str] = field(default_factory=set)
    engaged_ms: int | None = None

    def add(self, event: _Payload) -> None:
        """Add the visitor's next event."""
        payload = event.fields
        kind = payload["event_type"]
        self.last = event
        self.types[kind] += 1
        page = payload["page_url"]
        self.pages.add(page)
        if self.landing_page is None:
            self.landing_page = page
            self.entry_referrer = payload.get("referrer")
        self.exit_page = page
        if "referrer" in payload:
            self.referrers.add(payload["referrer"])
        if "engaged_ms" in payload:
            self.engaged_ms = (self.engaged_ms or 0) + payload["engaged_ms"]
        if "product_id" in payload and kind in PRODUCT_VIEWS:
            self.products.add(payload["product_id"])
        if kind == "purchase":
            self.cents += round(payload["price"] * 100) * payload["quantity"]
            self.orders.add(payload["order_id"])
        elif kind == "search":
            self.searches.add(payload["search_query"])

    def metrics(self) -> dict[str, Any]:
        """Return the metrics by their column names in session_metrics, and those of its views."""
        first, last = self.first.fields, self.last.fields
        engaged = (
            self.last.time - self.first.time > MIN_ENGAGED_TIME
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
            "event_type_counts": {kind: self.types[kind] for kind in _listed(self.types)},
            "unique_pages": _listed(self.pages),
            "unique_pages_count": _count(self.pages),
            "landing_page": self.landing_page,
            "entry_referrer": self.entry_referrer,
            "exit_page": self.exit_page,
            "total_revenue": f"{self.cents // 100}.{self.cents % 100:02d}00",
            "orders_count": _count(self.orders),
            "products_viewed": _listed(self.products),
            "products_viewed_count": _count(self.products),
            "search_queries": _listed(self.searches),
            "referrers": _listed(self.referrers),
            "unique_referrers_count": _count(self.referrers),
            **{name: first[name] for name in VISITOR_FIELDS},
            "is_bounce": not engaged,
            "engaged_seconds": _seconds(self.engaged_ms),
            **self.source._asdict(),
            "session_number": self.number,
            "is_bot": first["user_agent"] in BOT_USER_AGENTS,
        }


def _listed(values: Iterable[str]) -> list[str]:
    """Return the smallest values by code point, as many as the tables keep.

    MAX_LISTED_BYTES is the limit of their array as JSON without blanks.
    """
    listed: list[str] = []
    bytes_left = MAX_LISTED_BYTES - 1  # two brackets; one comma less than there are values
    for value in sorted(values)[:MAX_LISTED]:
        bytes_left -= len(orjson.dumps(value)) + 1
        if bytes_left < 0:
            break
        listed.append(value)
    return listed


def _seconds(milliseconds: int | None) -> str | None:
    """Return seconds with three places; None if no event has a value."""
    return None if milliseconds is None else f"{milliseconds // 1000}.{milliseconds % 1000:03}"


def _count(values: set[str]) -> int:
    return min(len(values), MAX_COUNTED)


class TruthWriter:
    """Computes sessions from the events and writes the truth file, one session per line.

    timeout: that of the session rule, seconds. start_events, end_events: types that split sessions.
    Sessions that no event can join any more go to a temporary file in the same folder; memory
    holds the open ones, and a number for each visitor. Raises UserError if the folder is not
    writable.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout: int,
        start_events: tuple[str, ...],
        end_events: tuple[str, ...],
    ) -> None:
        self._path = path
        self._timeout = timeout * SECOND
        self._starts = start_events
        self._ends = end_events
        self._events = 0
        # By visitor; the session with the oldest last event comes first.
        self._open: dict[bytes, _Session] = {}
        # Sessions begun, by visitor.
        self._numbers: Counter[bytes] = Counter()
        if path.is_dir():
            raise UserError(f"cannot write {path}: it is a folder; give --truth a file")
        try:
            self._closed = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed with the process
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; check --truth") from None

    def observe(self, events: Iterable[SimulatedEvent]) -> Iterator[SimulatedEvent]:
        """Yield the events unchanged and add each to its session. They must be in order."""
        for event in events:
            self._add(event)
            yield event

    def write(self, *, duplicates: int, rejected: dict[str, int]) -> None:
        """Write the file atomically: readers see all of it or nothing.

        duplicates: records sent twice. rejected: number of invalid records by reason code.
        Raises UserError if the file cannot be written.
        """
        for session in self._open.values():
            self._close(session)
        self._open.clear()
        head = {
            "version": TRUTH_VERSION,
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

    def _add(self, event: SimulatedEvent) -> None:
        self._events += 1
        self._close_old(event.due)
        parsed = _Payload(event.due, event.time, event.payload)
        session = self._open.pop(event.key, None)
        if session is None or self._starts_new(session, parsed):
            if session:
                self._close(session)
            self._numbers[event.key] += 1
            session = _Session(parsed, parsed, event.source, self._numbers[event.key])
        session.add(parsed)
        self._open[event.key] = session

    def _starts_new(self, session: _Session, event: _Payload) -> bool:
        return (
            event.time - session.last.time > self._timeout
            or event.fields["event_type"] in self._starts
            or session.last.fields["event_type"] in self._ends
        )

    def _close_old(self, now: int) -> None:
        """Close the sessions whose last event is more than the timeout ago.

        The true time is compared: the error of a visitor's clock is constant.
        """
        while self._open:
            key, session = next(iter(self._open.items()))
            if now - session.last.due <= self._timeout:
                return
            self._close(self._open.pop(key))

    def _close(self, session: _Session) -> None:
        self._closed.write(orjson.dumps(session.metrics()) + b"\n")
