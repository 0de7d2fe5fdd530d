"""The next documents to index: a step from one checkpoint to a later one."""

from dataclasses import dataclass, replace
from typing import Any

from clickstream.clients.postgres import Cursor, only_row
from clickstream.indexer.checkpoint import HIGHEST_KEY, LOWEST_KEY, Checkpoint
from clickstream.indexer.documents import SELECT_CHANGED_DOCUMENTS, SELECT_DOCUMENTS_OF_KEY_RANGE

SELECT_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# The transaction id at which a step ends; no row if nothing has changed. All changes of one
# transaction are in one step, so a step may have more rows than %(max_rows)s.
SELECT_END_OF_CHANGES = """
    WITH events AS (
        SELECT xid::text::bigint AS id FROM clickstream_events
        WHERE xid >= %(start)s::xid8 AND xid < %(horizon)s::xid8 ORDER BY xid LIMIT %(max_rows)s),
    changes AS (
        SELECT xid::text::bigint AS id FROM session_changes
        WHERE xid >= %(start)s::xid8 AND xid < %(horizon)s::xid8 ORDER BY xid LIMIT %(max_rows)s)
    SELECT least(%(horizon)s,
                 (SELECT max(id) + 1 FROM events HAVING count(*) = %(max_rows)s),
                 (SELECT max(id) + 1 FROM changes HAVING count(*) = %(max_rows)s))
    WHERE EXISTS (SELECT FROM events) OR EXISTS (SELECT FROM changes)
"""
# The key of the event with which a step ends; no row if fewer events are left.
SELECT_END_OF_KEY_RANGE = """
    SELECT event_time::text, event_id::text FROM clickstream_events AS e
    WHERE (event_time, event_id) > (%(after_time)s::timestamptz, %(after_id)s::uuid)
    ORDER BY e.event_time, e.event_id
    LIMIT 1 OFFSET %(max_rows)s - 1
"""

# The checkpoint from which backfill steps go through everything that is stored.
BACKFILL_START = Checkpoint("", 0, LOWEST_KEY)


@dataclass(frozen=True, slots=True)
class IndexStep:
    """Documents to index, and the checkpoint that is reached with them.

    query: one of documents.py, with its parameters.
    """

    query: str
    parameters: dict[str, Any]
    after: Checkpoint


def next_step(cursor: Cursor, current: Checkpoint, max_rows: int) -> IndexStep | None:
    """Return the next step, of about this many rows; None if there is nothing to index."""
    if current.backfilled_to is not None:
        return backfill_step(cursor, current, max_rows)
    return _change_step(cursor, current, max_rows)


def backfill_step(cursor: Cursor, current: Checkpoint, max_rows: int) -> IndexStep:
    """Return the step with the next events in key order and the sessions that begin with them."""
    version = _horizon(cursor)
    after_time, after_id = current.backfilled_to or HIGHEST_KEY
    start = {"after_time": after_time, "after_id": after_id}
    cursor.execute(SELECT_END_OF_KEY_RANGE, {**start, "max_rows": max_rows})
    last = cursor.fetchone()
    to_time, to_id = last or HIGHEST_KEY
    parameters = {**start, "to_time": to_time, "to_id": to_id, "version": version}
    after = replace(current, backfilled_to=(to_time, to_id) if last else None)
    return IndexStep(SELECT_DOCUMENTS_OF_KEY_RANGE, parameters, after)


def _change_step(cursor: Cursor, current: Checkpoint, max_rows: int) -> IndexStep | None:
    """Return the step over the next transactions; None if they changed nothing."""
    limits = {"start": current.horizon, "horizon": _horizon(cursor), "max_rows": max_rows}
    cursor.execute(SELECT_END_OF_CHANGES, {name: str(value) for name, value in limits.items()})
    row = cursor.fetchone()
    if row is None:
        return None
    (end,) = row
    parameters = {"start": str(current.horizon), "end": str(end), "version": end}
    return IndexStep(SELECT_CHANGED_DOCUMENTS, parameters, replace(current, horizon=end))


def _horizon(cursor: Cursor) -> int:
    """Return the id of the oldest transaction that is still running."""
    cursor.execute(SELECT_HORIZON)
    return int(only_row(cursor)[0])
