"""The cache of open sessions, and how new events change the stored sessions.

The cache holds each visitor's last session with all its metrics. Events after it or inside it are
folded into it in O(1). For a visitor who is not cached, the last stored session is looked up. If
there is none, or if the events come more than a timeout after it, they begin a new session. If they
continue a large one, it is loaded. In any other case (a smaller session, an event before the last
session, a boundary event inside it) the range of the visitor's events that the new ones can affect
is read from clickstream_events and refolded.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import chain

from clickstream.clients.postgres import Cursor
from clickstream.model.events import Event
from clickstream.model.sessions import Rule, Session, extend, fold
from clickstream.storage import change_log, event_table, large_sessions, session_table
from clickstream.storage.change_log import SessionChange
from clickstream.storage.event_table import EventRange
from clickstream.storage.session_table import LastSession, NearbySessions, RowVersion

# A visitor and the id of a session.
VisitorSession = tuple[str, str]
# Event ranges of visitors who have stored sessions, with those sessions.
Found = list[tuple[EventRange, NearbySessions]]


class SessionCache:
    """Open sessions of one consumer, keyed by visitor.

    After an exception the cache may be ahead of the tables: `clear` it.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._last: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._last)

    def clear(self) -> None:
        """Drop all sessions; they are loaded again when they are needed."""
        self._last.clear()

    def evict(self, watermark: datetime, in_use: Collection[str] = ()) -> None:
        """Drop the sessions that ended more than one timeout before the watermark.

        in_use: the visitors that other threads own, which may add sessions meanwhile.
        """
        sessions = self._last.copy().items()
        ended = {name for name, each in sessions if watermark - each.last[0] > self.rule.timeout}
        self.drop(ended.difference(in_use))

    def drop(self, visitors: Iterable[str]) -> None:
        """Drop the sessions of these visitors."""
        for user_id in visitors:
            self._last.pop(user_id, None)

    def apply(self, cursor: Cursor, events: Iterable[Event], *, others_write: bool) -> set[str]:
        """Bring the cached and the stored sessions up to date with new events.

        events: just inserted into clickstream_events, and in the order of their keys.
        others_write: other consumers may write sessions now; see session_table.
        Return the visitors who had no stored session. Raises SessionConflictError.
        """
        visitors = _by_visitor(events)
        missing = [user_id for user_id in visitors if user_id not in self._last]
        stored = session_table.read_last(cursor, missing)
        self._load_large(cursor, visitors, stored)
        changed: list[Session] = []
        to_touch: list[RowVersion] = []
        to_refold: list[list[Event]] = []
        for user_id, visitor_events in visitors.items():
            last, last_stored = self._last.get(user_id), stored.get(user_id)
            if last is not None and _can_fold(last, visitor_events, self.rule):
                folded, unchanged = self._fold(last, visitor_events)
                changed += folded
                to_touch += unchanged
            elif last is None and _is_later(visitor_events[0], last_stored, self.rule.timeout):
                changed += self._begin(visitor_events)
                to_touch += [last_stored.version] if last_stored else []
            else:
                to_refold.append(visitor_events)
        first_time_visitors = set(missing) - stored.keys()
        if to_refold:
            refolded, touched, without_sessions = self._refold(cursor, to_refold)
            changed += refolded
            to_touch += touched
            first_time_visitors |= without_sessions
        if others_write:
            session_table.touch(cursor, to_touch)
        session_table.write(cursor, changed, self.rule)
        return first_time_visitors

    def _load_large(
        self, cursor: Cursor, visitors: Mapping[str, list[Event]], stored: Mapping[str, LastSession]
    ) -> None:
        """Cache the large stored sessions that events continue: refolding one takes seconds.

        stored: the last session of each visitor who is not cached.
        """
        limit = large_sessions.LARGE_SESSION_EVENTS
        next_events = [
            visitors[user_id][0] for user_id, last in stored.items() if last.total_events >= limit
        ]
        if next_events:
            for session in large_sessions.load_continued(cursor, next_events, self.rule.timeout):
                self._last[session.user_id] = session

    def _begin(self, events: list[Event]) -> list[Session]:
        """Return the sessions of a visitor who has none near the events, and cache the last one."""
        sessions = fold(events, self.rule)
        self._last[sessions[-1].user_id] = sessions[-1]
        return sessions

    def _fold(self, last: Session, events: list[Event]) -> tuple[list[Session], list[RowVersion]]:
        """Fold events into the cached session.

        Return the sessions to be stored, and the cached one if it did not grow: it is touched only,
        because of the new session after it (see session_table), and stays closed if it is closed.
        """
        events_before = last.total_events
        sessions = [last]
        for event in events:
            if event.key < last.last:
                last.add(event)
            else:
                extend(sessions, event, self.rule)
        self._last[last.user_id] = sessions[-1]
        if last.total_events > events_before:
            return sessions, []
        return sessions[1:], [RowVersion(last.session_id, str(last.stored_xid))]

    def _refold(
        self, cursor: Cursor, visitors: list[list[Event]]
    ) -> tuple[list[Session], Collection[RowVersion], set[str]]:
        """Recompute the sessions around events.

        visitors: the events of each visitor.
        Return the sessions to be stored, those to be touched, and the visitors who had no stored
        session.
        """
        clusters = [each for events in visitors for each in _clusters(events, self.rule.timeout)]
        ranges = [_range_of(cluster) for cluster in clusters]
        nearby = session_table.find_nearby(cursor, ranges, self.rule.timeout)
        isolated = [
            cluster
            for cluster, near in zip(clusters, nearby, strict=True)
            if near is None or not near.sessions
        ]
        found = [(range_, near) for range_, near in zip(ranges, nearby, strict=True) if near]
        widened = _widen(found)
        stored_events = event_table.read_ranges(cursor.connection, widened) if widened else []
        sessions = [
            session
            for events in chain(isolated, stored_events)
            for session in fold(events, self.rule)
        ]
        stored = _versions(found)
        _replace(cursor, sessions, stored, widened)
        touched = _to_touch(found, stored)
        self.drop(user_id for user_id, _ in touched)  # the cached session may be a touched one
        self._remember(sessions, found)
        known = {event_range.user_id for event_range, _ in found}
        without_sessions = {event_range.user_id for event_range in ranges} - known
        return sessions, touched.values(), without_sessions

    def _remember(self, sessions: list[Session], found: Found) -> None:
        """Cache each visitor's last session, unless a later one is stored and did not change."""
        latest = {range_.user_id: near.latest_start for range_, near in found}
        replaced = {
            (range_.user_id, stored.first) for range_, near in found for stored in near.sessions
        }
        for session in sorted(sessions, key=lambda session: session.first):
            latest_start = latest.get(session.user_id, session.first)
            if latest_start <= session.first or (session.user_id, latest_start) in replaced:
                self._last[session.user_id] = session


def _by_visitor(events: Iterable[Event]) -> dict[str, list[Event]]:
    visitors: dict[str, list[Event]] = {}
    for event in events:
        visitors.setdefault(event.user_id, []).append(event)
    return visitors


def _is_later(event: Event, last: LastSession | None, timeout: timedelta) -> bool:
    """Return True if the event begins a session after the last stored one, or the first session."""
    return last is None or event.event_time - last.end > timeout


def _can_fold(last: Session, events: list[Event], rule: Rule) -> bool:
    """Return True if no event comes before the cached session or splits it."""
    first_key = events[0].key
    if first_key > last.last:
        return True
    if first_key < last.first:
        return False
    return not any(event.key < last.last and rule.is_boundary(event) for event in events)


def _clusters(events: list[Event], timeout: timedelta) -> list[list[Event]]:
    """Split one visitor's events at gaps longer than the timeout."""
    clusters = [[events[0]]]
    for event in events[1:]:
        if event.event_time - clusters[-1][-1].event_time > timeout:
            clusters.append([])
        clusters[-1].append(event)
    return clusters


def _range_of(cluster: list[Event]) -> EventRange:
    return EventRange(cluster[0].user_id, cluster[0].key, cluster[-1].key)


def _versions(found: Found) -> dict[VisitorSession, RowVersion]:
    return {
        (range_.user_id, stored.version.session_id): stored.version
        for range_, near in found
        for stored in near.sessions
    }


def _to_touch(
    found: Found, stored: Mapping[VisitorSession, RowVersion]
) -> dict[VisitorSession, RowVersion]:
    """Return the sessions to touch, because a range begins with a new session: see session_table.

    stored: the sessions before, which are written or deleted anyway.
    """
    to_touch = {
        (range_.user_id, near.to_touch.session_id): near.to_touch
        for range_, near in found
        if not any(session.first < range_.first for session in near.sessions)
    }
    return {key: version for key, version in to_touch.items() if key not in stored}


def _widen(found: Found) -> list[EventRange]:
    """Return the ranges that touch stored sessions, widened by those sessions and merged."""
    return _merge(
        EventRange(
            range_.user_id,
            min(range_.first, *(stored.first for stored in near.sessions)),
            max(range_.last, *(stored.last for stored in near.sessions)),
        )
        for range_, near in found
        if near.sessions
    )


def _replace(
    cursor: Cursor,
    sessions: Iterable[Session],
    stored: Mapping[VisitorSession, RowVersion],
    ranges: list[EventRange],
) -> None:
    """Delete the stored sessions that no longer exist, and log what changed.

    stored: the sessions before. If a visitor's sessions have the same ids as before, no stored
    event moved to another session; still each of them is written, because its status may change.
    """
    current = {(session.user_id, session.session_id): session for session in sessions}
    for key in stored.keys() & current.keys():
        current[key].stored_xid = stored[key].xid
    gone = sorted(stored.keys() - current.keys())
    session_table.delete(cursor, [stored[key] for key in gone])
    regrouped = {user_id for user_id, _ in stored.keys() ^ current.keys()}
    removed: dict[str, list[str]] = {}
    for user_id, session_id in gone:
        removed.setdefault(user_id, []).append(session_id)
    change_log.append(
        cursor,
        [
            SessionChange(
                user_id, first[0], last[0], user_id in regrouped, removed.get(user_id, ())
            )
            for user_id, first, last in ranges
        ],
    )


def _merge(ranges: Iterable[EventRange]) -> list[EventRange]:
    """Return the ranges in order, with overlapping ones joined."""
    merged: list[EventRange] = []
    for event_range in sorted(ranges):
        last = merged[-1] if merged else None
        if last and last.user_id == event_range.user_id and event_range.first <= last.last:
            merged[-1] = last._replace(last=max(last.last, event_range.last))
        else:
            merged.append(event_range)
    return merged
