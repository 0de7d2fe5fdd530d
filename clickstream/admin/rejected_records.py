"""Listing and showing rejected records, and the documents that OpenSearch refused."""

from dataclasses import dataclass
from typing import Any

from clickstream.clients.postgres import Connection
from clickstream.indexer import refused_documents
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clean, clip

COUNT_BY_REASON = """
    SELECT reason, count(*) FROM rejected_events GROUP BY reason ORDER BY 2 DESC, 1
"""
# A condition on rejected_events; its parameters are those of a Selection.
IS_SELECTED = """
    (%(reason)s IS NULL OR reason = %(reason)s)
    AND (%(partition)s IS NULL OR (partition, "offset") = (%(partition)s, %(offset)s))
"""
SELECT_NEWEST_REJECTED = f"""
    SELECT rejected_at, topic, partition, "offset", reason, detail
    FROM rejected_events
    WHERE {IS_SELECTED}
    ORDER BY rejected_at DESC, topic_id, partition, "offset" DESC
    LIMIT %(limit)s
"""  # noqa: S608 - built of constants
SELECT_WHOLE_REJECTED = f"""
    SELECT topic, topic_id, partition, "offset", reason, detail, rejected_at, record_timestamp,
           key, value
    FROM rejected_events
    WHERE {IS_SELECTED}
    ORDER BY rejected_at
"""  # noqa: S608 - built of constants
FIELD_LABELS = (
    "topic", "topic id", "partition", "offset", "reason", "detail", "rejected at", "record time",
    "key", "value",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """The rejected records that a command works on: of one reason, at one place, or all.

    place: partition and offset.
    """

    reason: str | None = None
    place: tuple[int, int] | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of IS_SELECTED."""
        partition, offset = self.place or (None, None)
        return {"reason": self.reason, "partition": partition, "offset": offset}


def list_rejected(connection: Connection, selection: Selection, limit: int) -> list[str]:
    """Return a line for each reason with its number of records, and one for each newest record."""
    with snapshot(connection) as cursor:
        cursor.execute(COUNT_BY_REASON)
        reasons = cursor.fetchall()
        cursor.execute(SELECT_NEWEST_REJECTED, {**selection.parameters(), "limit": limit})
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
    """Return a line with the number of refused documents, and one for each newest document."""
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


def show_rejected(connection: Connection, selection: Selection) -> list[str]:
    """Return each record in full, a line for each field; bytes that are no UTF-8 are escaped."""
    with snapshot(connection) as cursor:
        cursor.execute(SELECT_WHOLE_REJECTED, selection.parameters())
        rows = cursor.fetchall()
    return [
        f"{label:<12} {_printable(value)}"
        for row in rows
        for label, value in zip(FIELD_LABELS, row, strict=True)
    ]


def _printable(value: object) -> str:
    if isinstance(value, memoryview):
        return clean(bytes(value).decode("utf-8", "backslashreplace"))
    return "-" if value is None else clean(str(value))
