"""The index held against PostgreSQL, document by document, in bounded memory."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from clickstream.clients.postgres import Connection
from clickstream.indexer import checkpoint, document_reader, indexes
from clickstream.indexer.backlog import wait_until_indexed
from clickstream.indexer.bulk import Document, document_of
from clickstream.indexer.checkpoint import IndexStep
from clickstream.indexer.documents import EVENTS_THERE, SESSIONS, SESSIONS_THERE
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.untrusted_text import clip

ROWS_AT_ONCE = 1_000
BYTES_AT_ONCE = 4 << 20
ATTEMPTS = 3
SHOWN_DIFFERENCES = 20
SHOWN_CHARACTERS = 200
# So long nothing moves before the index counts as it is.
PATIENCE_SECONDS = 5.0
EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:-?[0-9]{1,18}")
SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class IndexDifferences:
    """Numbers of documents that there should be, by index, and what differs.

    differences: the first of them as sentences. number: of all of them.
    """

    documents: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    number: int = 0

    def add(self, differences: Iterable[str]) -> None:
        """Count differences, and keep the first."""
        for difference in differences:
            self.number += 1
            if self.number <= SHOWN_DIFFERENCES:
                self.differences.append(difference)


class Check:
    """One comparison; the consumer may run meanwhile.

    What differs is looked at again after the index has caught up with that moment.
    """

    def __init__(self, settings: Settings, connection: Connection, client: OpenSearch) -> None:
        self._settings = settings
        self._connection = connection
        self._client = client
        self._differences_found = IndexDifferences()

    def run(self) -> IndexDifferences:
        """Compare what should be there, then look for what should not."""
        self._settle()
        for step in self._steps():
            self._differences_found.add(self._compare(step))
        self._look_for_others()
        return self._differences_found

    def _settle(self) -> None:
        wait_until_indexed(self._settings, Stop(), patience=PATIENCE_SECONDS)

    def _steps(self) -> Iterator[IndexStep]:
        """All that is stored, by the keys of the events."""
        current = checkpoint.BEGINNING
        while current.filled_time is not None:
            with self._connection, self._connection.cursor() as cursor:
                step = checkpoint.backfill_step(cursor, current, ROWS_AT_ONCE)
            yield step
            current = step.after

    def _compare(self, step: IndexStep) -> list[str]:
        for _ in range(ATTEMPTS):
            documents: Counter[str] = Counter()
            differences: list[str] = []
            for expected in self._expected(step):
                documents.update(document.index_name for document in expected)
                differences += self._differences(expected)
            if not differences:
                break
            self._settle()
        self._differences_found.documents += documents
        return differences

    def _expected(self, step: IndexStep) -> Iterator[dict[Document, Any]]:
        """What there should be, in parts."""
        with self._connection:
            actions = (action for _, action in document_reader.actions(self._connection, step))
            for part in document_reader.parts(actions, ROWS_AT_ONCE, BYTES_AT_ONCE):
                yield {document_of(lines): json.loads(lines.partition(b"\n")[2]) for lines in part}

    def _differences(self, expected: dict[Document, Any]) -> Iterator[str]:
        wanted = [{"_index": each.index_name, "_id": each.document_id} for each in expected]
        found = self._client.mget(body={"docs": wanted})["docs"]
        for (document, source), reply in zip(expected.items(), found, strict=True):
            if not reply.get("found"):
                yield f"{document.index_name} lacks document {document.document_id}"
            elif reply["_source"] != source:
                yield _difference(document, source, reply["_source"])

    def _look_for_others(self) -> None:
        """Documents that should not be there: only where there are too many can there be any."""
        for name in sorted(indexes.present(self._client)):
            self._client.indices.refresh(index=name)
            if self._client.count(index=name)["count"] != self._differences_found.documents[name]:
                self._differences_found.add(self._others(name))

    def _others(self, name: str) -> Iterator[str]:
        for page in self._pages(name):
            others = set(page)
            for _ in range(ATTEMPTS):
                others = self._still_there(name, others - self._there(name, others))
                if not others:
                    break
                self._settle()
            for document_id in sorted(others):
                shown = clip(document_id, SHOWN_CHARACTERS)
                yield f"{name} has document {shown}, which is nothing in PostgreSQL"

    def _pages(self, name: str) -> Iterator[list[str]]:
        """All document ids of an index. By search_after: a user's rules may not allow a scroll."""
        query: dict[str, Any] = {"size": ROWS_AT_ONCE, "sort": ["_id"], "_source": False}
        while hits := self._client.search(index=name, body=query)["hits"]["hits"]:
            yield [hit["_id"] for hit in hits]
            query["search_after"] = hits[-1]["sort"]

    def _there(self, name: str, ids: set[str]) -> set[str]:
        """Those that PostgreSQL has for this index."""
        pattern, query = (
            (SESSION_ID, SESSIONS_THERE) if name == SESSIONS else (EVENT_ID, EVENTS_THERE)
        )
        possible = [each for each in ids if pattern.fullmatch(each)]
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(query, {"ids": possible})
            return {each for index_name, each in cursor if index_name == name}

    def _still_there(self, name: str, ids: set[str]) -> set[str]:
        """Those that the index has now."""
        if not ids:
            return ids
        try:
            found = self._client.mget(index=name, body={"ids": sorted(ids)}, _source=False)
        except NotFoundError:
            return set()
        return {reply["_id"] for reply in found["docs"] if reply.get("found")}


def _difference(document: Document, expected: dict[str, Any], found: dict[str, Any]) -> str:
    wrong = [
        f"{name} is {_text(found.get(name))}, not {_text(expected.get(name))}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name) != expected.get(name)
    ]
    return f"{document.index_name}, document {document.document_id}: {'; '.join(wrong)}"


def _text(value: object) -> str:
    return clip(json.dumps(value, ensure_ascii=False), SHOWN_CHARACTERS)
