"""Listing and showing rejected records, and the documents that OpenSearch refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clickstream.admin.record_bytes import bytes_lines
from clickstream.admin.text_table import table_lines
from clickstream.clients.postgres import Connection, Cursor
from clickstream.indexer import refused_documents
from clickstream.plurals import plural
from clickstream.storage.snapshot import snapshot
from clickstream.untrusted_text import clean, clip

# A condition on rejected_events; its parameters are those of a Selection.
IS_SELECTED = """
    (%(reason)s IS NULL OR reason = %(reason)s)
    AND (%(partition)s IS NULL OR (partition, "offset") = (%(partition)s, %(offset)s))
"""
COUNT_BY_REASON = f"""
    SELECT reason, count(*)
    FROM rejected_events
    WHERE {IS_SELECTED}
    GROUP BY reason
    ORDER BY 2 DESC, 1
"""  # noqa: S608 - built of constants
SELECT_NEWEST_REJECTED = f"""
    SELECT rejected_at, partition, "offset", reason, topic, detail
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
LABEL_WIDTH = 12
COUNT_WIDTH = 9
LINE_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Selection:
    """The rejected records that a command works on: with one reason, a single one, or all.

    location: partition and offset of a single record.
    """

    reason: str | None = None
    location: tuple[int, int] | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of IS_SELECTED."""
        partition, offset = self.location or (None, None)
        return {"reason": self.reason, "partition": partition, "offset": offset}


@dataclass(frozen=True, slots=True)
class ListedRecord:
    """A rejected record without its bytes. offset: in its partition."""

    rejected_at: datetime
    partition: int
    offset: int
    reason: str
    topic: str
    detail: str


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """A document that OpenSearch refused. status: its HTTP status code."""

    refused_at: datetime
    index_name: str
    document_id: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class RejectedList:
    """Rejected records and refused documents: their numbers, and the newest.

    reasons: the number of records by reason, the largest first.
    """

    reasons: dict[str, int]
    records: list[ListedRecord]
    refused_documents: int
    documents: list[ListedDocument]


def read_list(connection: Connection, selection: Selection, limit: int) -> RejectedList:
    """Read the numbers and the newest records; with a reason selected, no documents.

    limit: how many records and how many documents are listed.
    """
    with snapshot(connection) as cursor:
        reasons = _count(cursor, selection)
        cursor.execute(SELECT_NEWEST_REJECTED, {**selection.parameters(), "limit": limit})
        records = [ListedRecord(*row) for row in cursor.fetchall()]
        if selection.reason:
            return RejectedList(reasons, records, 0, [])
        refused = refused_documents.count(cursor)
        documents = [ListedDocument(*row) for row in refused_documents.newest(cursor, limit)]
    return RejectedList(reasons, records, refused, documents)


def list_lines(found: RejectedList, selection: Selection) -> list[str]:
    """Return a line for each reason, two for each record and three for each document.

    The lines have at most LINE_WIDTH characters.
    """
    lines = _record_lines(found, selection)
    return [*lines, "", *_document_lines(found)] if found.refused_documents else lines


def _record_lines(found: RejectedList, selection: Selection) -> list[str]:
    if not found.reasons:
        as_reason = f" as {selection.reason}" if selection.reason else ""
        return [f"No record was rejected{clean(as_reason)}."]
    counts = [(f"{number:>{COUNT_WIDTH},}", reason) for reason, number in found.reasons.items()]
    places = [
        (_second(each.rejected_at), f"{each.partition}:{each.offset}", each.reason, each.topic)
        for each in found.records
    ]
    headings = ("rejected at (UTC)", "record", "reason", "topic")
    return [
        *table_lines(("records".rjust(COUNT_WIDTH), "reason"), counts),
        *_listed(headings, places, [[each.detail] for each in found.records]),
    ]


def _document_lines(found: RejectedList) -> list[str]:
    number = found.refused_documents
    refusals = [
        (_second(each.refused_at), str(each.status), each.index_name) for each in found.documents
    ]
    headings = ("refused at (UTC)", "status", "index")
    details = [[each.document_id, each.reason] for each in found.documents]
    return [
        f"{number:>{COUNT_WIDTH},}  {plural(number, 'document')} refused by OpenSearch",
        *_listed(headings, refusals, details),
    ]


def _second(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def count_by_reason(connection: Connection, selection: Selection) -> dict[str, int]:
    """Return the number of rejected records by reason, the largest first."""
    with snapshot(connection) as cursor:
        return _count(cursor, selection)


def _count(cursor: Cursor, selection: Selection) -> dict[str, int]:
    cursor.execute(COUNT_BY_REASON, selection.parameters())
    return dict(cursor.fetchall())


def _listed(
    headings: Sequence[str], rows: Sequence[Sequence[str]], details: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Yield an empty line, headings, and for each row a line and its details, all cut to fit."""
    if not rows:
        return
    first, *lines = table_lines(headings, rows)
    yield from ("", first)
    for line, texts in zip(lines, details, strict=True):
        yield clip(line, LINE_WIDTH)
        for text in texts:
            yield f"  {clip(text, LINE_WIDTH - 2)}"


def show_rejected(connection: Connection, selection: Selection) -> list[str]:
    """Return each record in full: its fields, then key and value as text or as a hex dump."""
    with snapshot(connection) as cursor:
        cursor.execute(SELECT_WHOLE_REJECTED, selection.parameters())
        rows = cursor.fetchall()
    return [
        line
        for row in rows
        for label, value in zip(FIELD_LABELS, row, strict=True)
        for line in _field_lines(label, value)
    ]


def _field_lines(label: str, value: object) -> Iterator[str]:
    """Yield a value after its label; further lines of it are indented."""
    for number, line in enumerate(_value_lines(value)):
        yield f"{'' if number else label:<{LABEL_WIDTH}} {line}"


def _value_lines(value: object) -> list[str]:
    if isinstance(value, memoryview):
        return bytes_lines(bytes(value))
    return ["-" if value is None else clean(str(value))]
