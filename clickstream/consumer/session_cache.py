"""The cache of open sessions, and how new events change the stored ones.

For each visitor the cache holds the last session there is, complete. Events in order fold into it
in O(1), and so do late ones inside it. Whatever else happens (a visitor who is not in the cache,
an event before the session, a type that divides a session in the middle) refolds the event_range of
that visitor's events that it can touch.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import chain

from clickstream.clients.postgres import Cursor
from clickstream.model.events import Event
from clickstream.model.sessions import Rule, Session, extend, fold
from clickstream.storage import session_table
from clickstream.storage.session_table import Change, EventRange, Nearby


class SessionCache:
    """The visitors with an open session.

    After an exception the cache may be ahead of the tables: `clear` it.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._last: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._last)

    def clear(self) -> None:
        """Forget everything; it is loaded again as it is needed."""
        self._last.clear()

    def forget(self, watermark: datetime) -> None:
        """Let the sessions leave that the watermark has passed by more than the timeout."""
        self._last = {
            user_id: session
            for user_id, session in self._last.items()
            if watermark - session.last[0] <= self.rule.timeout
        }

    def store(self, cursor: Cursor, events: Iterable[Event]) -> None:
        """Bring the stored sessions up to date with events just inserted.

        events: new ones only, in the order of their keys.
        """
        touched: list[Session] = []
        others: list[list[Event]] = []
        for user_id, own in _by_visitor(events).items():
            last = self._last.get(user_id)
            if last is not None and self._folds(last, own):
                touched += self._fold(last, own)
            else:
                others.append(own)
        if others:
            touched += self._refold(cursor, others)
        session_table.upsert(cursor, touched, self.rule)

    def _folds(self, last: Session, events: list[Event]) -> bool:
        """Whether events go into the cached session or behind it without dividing it."""
        if events[0].key < last.first:
            return False
        return not any(event.key < last.last and self.rule.is_boundary(event) for event in events)

    def _fold(self, last: Session, events: list[Event]) -> list[Session]:
        before = last.total_events
        sessions = [last]
        for event in events:
            if event.key < last.last:
                last.add(event)
            else:
                extend(sessions, event, self.rule)
        self._last[last.user_id] = sessions[-1]
        return sessions if last.total_events > before else sessions[1:]

    def _refold(self, cursor: Cursor, visitors: list[list[Event]]) -> list[Session]:
        """The sessions that replace whatever is stored near these events."""
        clusters = [cluster for events in visitors for cluster in self._clusters(events)]
        spans = [_span(cluster) for cluster in clusters]
        found = session_table.nearby(cursor, spans, self.rule.timeout)
        alone = [
            cluster
            for cluster, near in zip(clusters, found, strict=True)
            if near is None or not near.touching
        ]
        ranges = _touched(spans, found)
        loaded = session_table.events_between(cursor.connection, ranges) if ranges else []
        sessions = [
            session for events in chain(alone, loaded) for session in fold(events, self.rule)
        ]
        stored = {
            (span.user_id, old.session_id)
            for span, near in zip(spans, found, strict=True)
            if near
            for old in near.touching
        }
        _replace(cursor, sessions, stored, ranges)
        self._remember(sessions, spans, found)
        return sessions

    def _clusters(self, events: list[Event]) -> list[list[Event]]:
        """One visitor's events, divided where they are more than a timeout apart."""
        clusters = [[events[0]]]
        for event in events[1:]:
            if event.event_time - clusters[-1][-1].event_time > self.rule.timeout:
                clusters.append([])
            clusters[-1].append(event)
        return clusters

    def _remember(
        self, sessions: list[Session], spans: list[EventRange], found: list[Nearby | None]
    ) -> None:
        """Cache the last session of each visitor, unless a later one is stored untouched."""
        stored = [(span.user_id, near) for span, near in zip(spans, found, strict=True) if near]
        latest = {user_id: near.latest for user_id, near in stored}
        replaced = {(user_id, old.first) for user_id, near in stored for old in near.touching}
        for session in sorted(sessions, key=lambda session: session.first):
            other = latest.get(session.user_id, session.first)
            if other <= session.first or (session.user_id, other) in replaced:
                self._last[session.user_id] = session


def _by_visitor(events: Iterable[Event]) -> dict[str, list[Event]]:
    visitors: dict[str, list[Event]] = {}
    for event in events:
        visitors.setdefault(event.user_id, []).append(event)
    return visitors


def _span(cluster: list[Event]) -> EventRange:
    return EventRange(cluster[0].user_id, cluster[0].key, cluster[-1].key)


def _touched(spans: list[EventRange], found: list[Nearby | None]) -> list[EventRange]:
    """The ranges that touch stored sessions, with those sessions."""
    return _merge(
        EventRange(
            span.user_id,
            min(span.first, *(stored.first for stored in near.touching)),
            max(span.last, *(stored.last for stored in near.touching)),
        )
        for span, near in zip(spans, found, strict=True)
        if near is not None and near.touching
    )


def _replace(
    cursor: Cursor,
    sessions: Iterable[Session],
    stored: set[tuple[str, str]],
    ranges: list[EventRange],
) -> None:
    """Delete the stored sessions that no longer exist, and note what the index has to follow.

    stored: visitors and ids of the sessions before. Where a visitor's sessions begin with the same
    events as before, no event that was stored before goes to another one; but all of them are
    written anew, the status of those without a new event too.
    """
    now = {(session.user_id, session.session_id) for session in sessions}
    gone = sorted(stored - now)
    session_table.delete(cursor, (session_id for _, session_id in gone))
    regrouped = {user_id for user_id, _ in stored ^ now}
    removed: dict[str, list[str]] = {}
    for user_id, session_id in gone:
        removed.setdefault(user_id, []).append(session_id)
    session_table.note_changes(
        cursor,
        [
            Change(user_id, first[0], last[0], user_id in regrouped, removed.get(user_id, ()))
            for user_id, first, last in ranges
        ],
    )


def _merge(ranges: Iterable[EventRange]) -> list[EventRange]:
    """Stretches in order, those that overlap joined."""
    merged: list[EventRange] = []
    for event_range in sorted(ranges):
        if (
            merged
            and merged[-1].user_id == event_range.user_id
            and event_range.first <= merged[-1].last
        ):
            merged[-1] = merged[-1]._replace(last=max(merged[-1].last, event_range.last))
        else:
            merged.append(event_range)
    return merged
