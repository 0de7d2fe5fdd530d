"""Answers of `python -m clickstream find`: lines about events and rejected records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clickstream.durations import format_time
from clickstream.inspection.facts import fact
from clickstream.inspection.stored_events import Rejection, StoredEvent


@dataclass(frozen=True, slots=True)
class Answer:
    """Lines for people. found: True if something is stored or rejected."""

    found: bool
    lines: list[str]


def event_lines(events: Sequence[StoredEvent]) -> Iterator[str]:
    """Yield the facts about stored events."""
    for event in events:
        yield from fact("event", event.event_id)
        yield from fact("time", event.event_time.isoformat())
        yield from fact("type", event.event_type)
        yield from fact("visitor", event.user_id)
        yield from fact("stored", format_time(event.stored_at))
        yield from fact("session", event.session_id)
        yield from fact("", f"python summary.py --session {event.session_id}")


def rejection_lines(rejections: Sequence[Rejection]) -> Iterator[str]:
    """Yield the facts about rejected records."""
    for each in rejections:
        location = f"{each.partition}:{each.offset}"
        yield from fact("rejected", f"record {location} as {each.reason}: {each.detail}")
        yield from fact("", f"python -m clickstream rejected show {location}")
