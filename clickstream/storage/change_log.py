"""The change log: the table session_changes, which tells the search indexer what to index again.

The indexer finds new events by their transaction ids. Every other change of sessions is logged
here in the transaction that makes it: refolding, closing, `rejected retry`, a rebuild, and removing
sessions with their events (removal.py).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from clickstream.clients.postgres import Cursor

# A checkpoint that did not move for this many days has expired, for example because search was
# turned off: the indexer starts again with a backfill. Changes are logged for one day longer, so
# that no checkpoint is continued after changes that were not logged.
CHECKPOINT_EXPIRY_DAYS = 6
LOGGED_DAYS = CHECKPOINT_EXPIRY_DAYS + 1

# A condition: there is a checkpoint to log for. Without one the log would only grow.
IS_LOGGED = (
    f"EXISTS (SELECT FROM search_cursor WHERE moved_at > now() - interval '{LOGGED_DAYS} days')"
)
# The id of the document of an event e: with the time, because two events may have the same event id
# at different times.
EVENT_DOCUMENT_ID = "e.event_id || ':' || (extract(epoch FROM e.event_time) * 1000000)::bigint"
# Without a checkpoint the indexer starts again with a backfill.
DELETE_CHECKPOINT = "DELETE FROM search_cursor"
INSERT_CHANGES = f"""
    INSERT INTO session_changes (user_id, from_time, to_time, regrouped, removed)
    SELECT user_id, from_time, to_time, regrouped, removed::uuid[]
    FROM unnest(%(users)s::text[], %(from_times)s::timestamptz[], %(to_times)s::timestamptz[],
                %(regrouped)s::boolean[], %(removed)s::text[])
        AS changes (user_id, from_time, to_time, regrouped, removed)
    WHERE {IS_LOGGED}
"""  # noqa: S608 - built of constants
# Ids of sessions are logged without the visitor.
FORGET_VISITORS = f"""
    WITH forgotten AS (
        DELETE FROM session_changes WHERE user_id = ANY (%(visitors)s)
        RETURNING removed)
    INSERT INTO session_changes (user_id, from_time, to_time, regrouped, removed)
    SELECT '', now(), now(), false, removed FROM forgotten WHERE removed <> '{{}}' AND {IS_LOGGED}
"""  # noqa: S608 - built of constants
DELETE_UNUSED_CHANGES = f"DELETE FROM session_changes WHERE NOT {IS_LOGGED}"  # noqa: S608


class SessionChange(NamedTuple):
    """A change of one visitor's sessions between two times.

    regrouped: True if events moved from one session to another. removed: ids of sessions that no
    longer exist.
    """

    user_id: str
    from_time: datetime
    to_time: datetime
    regrouped: bool
    removed: Sequence[str] = ()


def append(cursor: Cursor, changes: Sequence[SessionChange]) -> None:
    """Log changes, if there is a checkpoint to log for."""
    if not changes:
        return
    users, from_times, to_times, regrouped, removed = map(list, zip(*changes, strict=True))
    cursor.execute(
        INSERT_CHANGES,
        {
            "users": users,
            "from_times": from_times,
            "to_times": to_times,
            "regrouped": regrouped,
            # As text, because PostgreSQL's arrays of arrays are rectangular.
            "removed": ["{" + ",".join(ids) + "}" for ids in removed],
        },
    )


def forget(cursor: Cursor, visitors: Collection[str]) -> None:
    """Delete what is logged of visitors, except the ids of sessions that no longer exist.

    The caller holds the write lock, shared or alone.
    """
    cursor.execute(FORGET_VISITORS, {"visitors": list(visitors)})


def prune(cursor: Cursor) -> None:
    """Delete the changes logged for an expired checkpoint: the indexer then begins a backfill.

    The caller holds the write lock, shared or alone.
    """
    cursor.execute(DELETE_UNUSED_CHANGES)
