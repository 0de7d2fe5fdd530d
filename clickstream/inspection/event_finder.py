"""Finding an event by its id, and the sessions of a visitor."""

from collections.abc import Sequence
from datetime import datetime

from clickstream.admin.text_table import table_lines
from clickstream.clients.postgres import Connection
from clickstream.durations import format_time
from clickstream.inspection import stored_events
from clickstream.inspection.answers import Answer, event_lines, rejection_lines
from clickstream.inspection.facts import sentence
from clickstream.inspection.pipeline_status import read_status
from clickstream.inspection.stored_events import VisitorSession
from clickstream.model.event_ids import read_event_id
from clickstream.settings import Settings
from clickstream.storage import erased_visitors, event_retention
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clip

SHOWN_WIDTH = 50
HEADINGS = ("session", "first event (UTC)", "events", "status")


def find_event(connection: Connection, settings: Settings, sent_id: str) -> Answer:
    """Find an event by its id, as it was sent or as it is stored.

    Looks for rows of clickstream_events, and for rejected records that contain the id.
    """
    with snapshot(connection) as cursor:
        events = stored_events.events_by_id(cursor, str(read_event_id(sent_id)))
        rejections = stored_events.rejections_with(cursor, sent_id)
        kept_from = event_retention.read_kept_from(cursor)
    if events or rejections:
        return Answer(True, [*event_lines(events), *rejection_lines(rejections)])
    shown = clip(sent_id, SHOWN_WIDTH)
    return _not_found(
        f"No event {shown} is stored, and no rejected record contains this id.",
        settings,
        kept_from,
    )


def find_visitor(connection: Connection, settings: Settings, user_id: str) -> Answer:
    """Find a visitor's latest sessions, and the rejected records with the visitor as their key."""
    with snapshot(connection) as cursor:
        sessions = stored_events.sessions_of(cursor, user_id)
        rejections = stored_events.rejections_of(cursor, user_id)
        erased = erased_visitors.find(cursor, erased_visitors.keys(cursor), [user_id])
        kept_from = event_retention.read_kept_from(cursor)
    shown = clip(user_id, SHOWN_WIDTH)
    lines = [*_session_lines(sessions), *rejection_lines(rejections)]
    if erased:
        erasure = f"Visitor {shown} was erased on {format_time(erased[user_id])}."
        return Answer(bool(lines), [*sentence(erasure), *lines])
    if lines:
        return Answer(True, lines)
    return _not_found(
        f"No event of visitor {shown} is stored, and no rejected record has this key.",
        settings,
        kept_from,
    )


def _not_found(what: str, settings: Settings, kept_from: datetime | None) -> Answer:
    """Return an answer that also says how many records are not read yet.

    kept_from: earlier events are not kept; None if all are.
    """
    status = read_status(settings)
    if status.kafka_error:
        unread = f"The number of records that are not read yet is unknown: {status.kafka_error}."
    elif status.total_lag_records:
        number = status.total_lag_records
        unread = f"{number:,} {'record is' if number == 1 else 'records are'} not read yet."
    else:
        unread = f"Every record of topic {settings.kafka_topic} is read."
    removed = f"Events before {format_time(kept_from)} are not kept." if kept_from else ""
    return Answer(False, [*sentence(what), *sentence(removed), *sentence(unread)])


def _session_lines(sessions: Sequence[VisitorSession]) -> list[str]:
    if not sessions:
        return []
    rows = [
        (
            each.session_id,
            f"{each.first_event_timestamp:%Y-%m-%d %H:%M:%S}",
            str(each.total_events),
            "open" if each.closed_at is None else "closed",
        )
        for each in sessions
    ]
    return table_lines(HEADINGS, rows)
