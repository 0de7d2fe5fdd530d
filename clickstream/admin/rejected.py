"""Rejected records, listed and shown."""

from dataclasses import dataclass
from typing import Any

from clickstream.clients.postgres import Connection
from clickstream.indexer import refused_documents
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clean, clip

REASONS = "SELECT reason, count(*) FROM rejected_events GROUP BY reason ORDER BY 2 DESC, 1"
CHOSEN = """
    (%(reason)s IS NULL OR reason = %(reason)s)
    AND (%(partition)s IS NULL OR (partition, "offset") = (%(partition)s, %(offset)s))
"""
LIST = f"""
    SELECT rejected_at, topic, partition, "offset", reason, detail
    FROM rejected_events
    WHERE {CHOSEN}
    ORDER BY rejected_at DESC, topic_id, partition, "offset" DESC
    LIMIT %(limit)s
"""  # noqa: S608 - built of constants
SHOW = f"""
    SELECT topic, topic_id, partition, "offset", reason, detail, rejected_at, record_timestamp,
           key, value
    FROM rejected_events
    WHERE {CHOSEN}
    ORDER BY rejected_at
"""  # noqa: S608 - built of constants
FIELDS = (
    "topic", "topic id", "partition", "offset", "reason", "detail", "rejected at", "record time",
    "key", "value",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rejected records are meant: those of a reason, the one at a place, or all."""

    reason: str | None = None
    place: tuple[int, int] | None = None

    def parameters(self) -> dict[str, Any]:
        """The parameters of CHOSEN."""
        partition, offset = self.place or (None, None)
        return {"reason": self.reason, "partition": partition, "offset": offset}


def listing(connection: Connection, choice: Choice, limit: int) -> list[str]:
    """A line for each reason with its number, then one for each of the newest records."""
    with snapshot(connection) as cursor:
        cursor.execute(REASONS)
        reasons = cursor.fetchall()
        cursor.execute(LIST, {**choice.parameters(), "limit": limit})
        rows = cursor.fetchall()
    if not reasons:
        return ["No record was rejected."]
    lines = [f"{number:>9,}  {reason}" for reason, number in reasons]
    for rejected_at, topic, partition, offset, reason, detail in rows:
        lines.append(
            f"{rejected_at:%Y-%m-%d %H:%M:%S} UTC  {clip(topic, 30)} {partition}:{offset}  "
            f"{reason}  {clip(detail, 100)}"
        )
    return lines


def list_refused_documents(connection: Connection, limit: int) -> list[str]:
    """The number of documents that OpenSearch refused, and a line for each of the newest."""
    with snapshot(connection) as cursor:
        number = refused_documents.count(cursor)
        rows = refused_documents.newest(cursor, limit)
    if not number:
        return []
    return [
        f"{number:>9,}  documents refused by OpenSearch",
        *(
            f"{refused_at:%Y-%m-%d %H:%M:%S} UTC  {index_name} {document_id}  {status}  "
            f"{clip(reason, 200)}"
            for refused_at, index_name, document_id, status, reason in rows
        ),
    ]


def details(connection: Connection, choice: Choice) -> list[str]:
    """Each record in full, bytes that are no text escaped; empty where there is none."""
    with snapshot(connection) as cursor:
        cursor.execute(SHOW, choice.parameters())
        rows = cursor.fetchall()
    return [
        f"{field:<12} {_shown(value)}"
        for row in rows
        for field, value in zip(FIELDS, row, strict=True)
    ]


def _shown(value: object) -> str:
    if isinstance(value, memoryview):
        return clean(bytes(value).decode("utf-8", "backslashreplace"))
    return "-" if value is None else clean(str(value))
