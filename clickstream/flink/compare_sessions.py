"""Comparison of flink_sessions with session_metrics, session by session."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from clickstream.clients.postgres import Connection, Cursor
from clickstream.errors import UserError
from clickstream.model.distinct_values import SHOWN_BYTES, SHOWN_VALUES
from clickstream.plurals import plural
from clickstream.storage.query_rows import select_row, stream_rows
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clean
from clickstream.verify.differences import different_fields

SELECT_DIFFERENT_SESSIONS = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
HAS_TABLE = "SELECT to_regclass('flink_sessions') IS NOT NULL AS found"
COUNT_SESSIONS = """
    SELECT (SELECT count(*) FROM flink_sessions) AS flink,
           (SELECT count(*) FROM session_metrics m
            WHERE closed_at IS NULL AND NOT EXISTS (
                SELECT FROM flink_sessions f
                WHERE f.user_id = m.user_id
                  AND f.first_event_timestamp = m.first_event_timestamp)) AS open
"""


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """Numbers of sessions in a comparison.

    flink: in flink_sessions. open: only in session_metrics and open, so not compared.
    """

    flink: int
    open: int

    def line(self) -> str:
        """Return the numbers as a sentence."""
        compared = f"Compared {self.flink:,} {plural(self.flink, 'session')} of flink_sessions"
        if not self.open:
            return f"{compared} with session_metrics."
        return f"{compared} with session_metrics, which has {self.open:,} more that are open."


def compare(connection: Connection) -> Iterator[str | SessionCounts]:
    """Yield a sentence for each session that differs, and at the end the numbers of sessions.

    connection: not in autocommit and outside a transaction. Raises UserError if the tables do not
    exist.
    """
    with snapshot(connection) as cursor:
        _check_tables(cursor)
        for row in stream_rows(connection, SELECT_DIFFERENT_SESSIONS):
            if sentence := _difference(*row):
                yield sentence
        yield SessionCounts(**select_row(cursor, COUNT_SESSIONS))


def _check_tables(cursor: Cursor) -> None:
    if not select_row(cursor, HAS_TABLE)["found"]:
        raise UserError(
            "there is no table flink_sessions; run first: python -m clickstream flink run"
        )


def _difference(
    user_id: str, began: str, ours: str | None, flink: str | None, late_events: int
) -> str:
    """Return how a session differs, "" if it does not.

    ours, flink: its row in session_metrics and in flink_sessions as JSON; None if it has none.
    """
    if ours is None:
        found = "only flink_sessions has it"
    elif flink is None:
        found = "flink_sessions lacks it"
    else:
        found = _different_metrics(_metrics(ours), _metrics(flink))
        found = found and f"in flink_sessions {found}"
    late = f"{late_events:,} late {plural(late_events, 'event')} of this visitor"
    return found and clean(
        f"session of {user_id} from {began}: {found}" + (f" ({late})" if late_events else "")
    )


def _different_metrics(ours: dict[str, Any], flink: dict[str, Any]) -> str:
    """Name each metric that differs. session_metrics shows a part of a large array or object."""
    compared = [name for name, value in flink.items() if not _is_large(value)]
    return different_fields(
        {name: ours[name] for name in compared}, {name: flink[name] for name in compared}
    )


def _is_large(value: Any) -> bool:
    if not isinstance(value, list | dict):
        return False
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(value) > SHOWN_VALUES or len(text.encode()) > SHOWN_BYTES


def _metrics(row: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(row, parse_float=Decimal)
    return metrics
