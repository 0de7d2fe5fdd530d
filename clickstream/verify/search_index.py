"""Check of the search index: compare its documents with PostgreSQL, in bounded memory.

Consumers may run meanwhile. A difference counts only if it is still there after the index has
caught up.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from clickstream.clients.postgres import Connection
from clickstream.indexer import indexes, refused_documents
from clickstream.indexer.backlog import wait_until_indexed
from clickstream.indexer.bulk import Document, document_of
from clickstream.indexer.document_reader import read_actions, split
from clickstream.indexer.documents import (
    SELECT_STORED_EVENT_IDS,
    SELECT_STORED_SESSION_IDS,
)
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.steps import BACKFILL_START, IndexStep, backfill_step
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.untrusted_text import clip
from clickstream.verify.differences import (
    VALUE_CHARACTERS,
    Differences,
    collect,
    different_fields,
)

logger = logging.getLogger(__name__)

DOCUMENTS_PER_REQUEST = 1_000
BYTES_PER_REQUEST = 4 << 20
MAX_COMPARISONS = 3
# If the index makes no progress for this long, it is compared as it is.
COMPARISON_PATIENCE_SECONDS = 5.0
# Limit of the time that all waits because of differences take together.
MAX_WAITING_SECONDS = 60.0
PROGRESS_SECONDS = 5.0
EVENT_DOCUMENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:-?[0-9]{1,18}")
SESSION_DOCUMENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class IndexVerification:
    """Result of the check.

    documents: number of expected documents. refused: number of those that are missing or outdated
    because OpenSearch refused them; they are recorded, and do not count as differences.
    """

    documents: int
    refused: int
    differences: Differences


def verify_index(
    settings: Settings,
    connection: Connection,
    client: OpenSearch,
    clock: Callable[[], float] = monotonic,
) -> IndexVerification:
    """Compare every document of the index with PostgreSQL, and log the progress.

    connection: not in autocommit and outside a transaction. clock: returns seconds.
    Raises OpenSearchException.
    """
    comparison = _Comparison(settings, connection, client, clock)
    differences = collect(comparison.differences())
    return IndexVerification(comparison.documents.total(), comparison.refused, differences)


class _Waiting:
    """Waits for the index to catch up, as long as there is time left and the index moves."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._seconds_left = MAX_WAITING_SECONDS

    def wait_before(self) -> None:
        """Wait for everything that is stored before the comparison, however long it takes."""
        if not self._catch_up():
            self._give_up("it makes no progress")

    def wait_again(self) -> bool:
        """Wait because of differences; return False if the index is to be compared as it is."""
        if self._seconds_left <= 0:
            return False
        started = self._clock()
        if not self._catch_up():
            self._give_up("it makes no progress")
            return False
        self._seconds_left -= self._clock() - started
        if self._seconds_left <= 0:
            self._give_up("it has many differences")
        return True

    def _catch_up(self) -> bool:
        return wait_until_indexed(self._settings, Stop(), patience=COMPARISON_PATIENCE_SECONDS)

    def _give_up(self, reason: str) -> None:
        self._seconds_left = 0.0
        logger.warning("from here on the search index is compared as it is, because %s", reason)


class _Progress:
    """Logs every PROGRESS_SECONDS how far the comparison is."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged_at = clock()

    def log(self, documents: int) -> None:
        """Log the number of documents that are compared, if it is time."""
        if self._clock() - self._logged_at >= PROGRESS_SECONDS:
            logger.info("compared %s documents", f"{documents:,}")
            self._logged_at = self._clock()


class _Comparison:
    """One comparison of the index with PostgreSQL.

    documents: numbers of expected documents by index, among those compared so far. refused: number
    of those that OpenSearch refused.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        client: OpenSearch,
        clock: Callable[[], float],
    ) -> None:
        self.documents: Counter[str] = Counter()
        self.refused = 0
        self._names = IndexNames(settings.opensearch_index_prefix)
        self._connection = connection
        self._client = client
        self._waiting = _Waiting(settings, clock)
        self._progress = _Progress(clock)

    def differences(self) -> Iterator[str]:
        """Yield documents that are missing or different, then documents that are not expected."""
        self._waiting.wait_before()
        for step in self._steps():
            yield from self._compare(step)
            self._progress.log(self.documents.total())
        yield from self._unexpected()

    def _steps(self) -> Iterator[IndexStep]:
        """Yield steps over everything that is stored, in the order of the events' keys."""
        current = BACKFILL_START
        while current.backfilled_to is not None:
            with self._connection, self._connection.cursor() as cursor:
                step = backfill_step(cursor, current, DOCUMENTS_PER_REQUEST)
            yield step
            current = step.after

    def _compare(self, step: IndexStep) -> list[str]:
        """Return the differences of a step that are still there after MAX_COMPARISONS."""
        for _ in range(MAX_COMPARISONS):
            documents: Counter[str] = Counter()
            differences: dict[Document, str] = {}
            for expected in self._expected(step):
                documents.update(document.index_name for document in expected)
                differences |= dict(self._missing_or_different(expected))
            refused = self._refused(differences)
            if differences.keys() <= refused or not self._waiting.wait_again():
                break
        self.documents += documents
        self.refused += len(refused)
        return [text for document, text in differences.items() if document not in refused]

    def _refused(self, documents: Iterable[Document]) -> set[Document]:
        """Return those of the documents that are recorded as refused."""
        with self._connection, self._connection.cursor() as cursor:
            return refused_documents.recorded_among(cursor, documents)

    def _expected(self, step: IndexStep) -> Iterator[dict[Document, Any]]:
        """Yield the expected documents, with their content, in parts."""
        with self._connection:
            groups = read_actions(self._connection, step, self._names)
            actions = (group.actions for group in groups)
            for part in split(actions, DOCUMENTS_PER_REQUEST, BYTES_PER_REQUEST):
                yield {document_of(each): json.loads(each.partition(b"\n")[2]) for each in part}

    def _missing_or_different(
        self, expected: dict[Document, Any]
    ) -> Iterator[tuple[Document, str]]:
        """Yield each document that is missing or different, and a sentence about it."""
        wanted = [{"_index": each.index_name, "_id": each.document_id} for each in expected]
        replies = self._client.mget(body={"docs": wanted})["docs"]
        for (document, content), reply in zip(expected.items(), replies, strict=True):
            if not reply.get("found"):
                yield document, f"{document.index_name} lacks document {document.document_id}"
            elif reply["_source"] != content:
                fields = different_fields(content, reply["_source"])
                yield document, f"{document.index_name}, document {document.document_id}: {fields}"

    def _unexpected(self) -> Iterator[str]:
        """Yield documents that are not expected.

        Only an index whose number of documents is not the expected one can have any.
        """
        for name in sorted(indexes.uuids(self._client, self._names)):
            self._client.indices.refresh(index=name)
            if self._client.count(index=name)["count"] != self.documents[name]:
                yield from self._unexpected_in(name)

    def _unexpected_in(self, name: str) -> Iterator[str]:
        for page in self._pages_of_ids(name):
            unexpected = set(page)
            for _ in range(MAX_COMPARISONS):
                unexpected = self._indexed(name, unexpected - self._stored(name, unexpected))
                if not unexpected or not self._waiting.wait_again():
                    break
            self._progress.log(self.documents.total())
            for document_id in sorted(unexpected):
                shown = clip(document_id, VALUE_CHARACTERS)
                yield f"{name} has document {shown}, which PostgreSQL does not have"

    def _pages_of_ids(self, name: str) -> Iterator[list[str]]:
        """Yield all document ids of an index.

        By search_after, because the rights of the user may not include a scroll.
        """
        query: dict[str, Any] = {"size": DOCUMENTS_PER_REQUEST, "sort": ["_id"], "_source": False}
        while hits := self._client.search(index=name, body=query)["hits"]["hits"]:
            yield [hit["_id"] for hit in hits]
            query["search_after"] = hits[-1]["sort"]

    def _stored(self, name: str, ids: set[str]) -> set[str]:
        """Return the ids whose event or session is in PostgreSQL and belongs to this index."""
        if name == self._names.sessions:
            pattern, query = SESSION_DOCUMENT_ID, SELECT_STORED_SESSION_IDS
        else:
            pattern, query = EVENT_DOCUMENT_ID, SELECT_STORED_EVENT_IDS
        possible = [each for each in ids if pattern.fullmatch(each)]
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(query, {**self._names.query_parameters, "ids": possible})
            return {each for index_name, each in cursor if index_name == name}

    def _indexed(self, name: str, ids: set[str]) -> set[str]:
        """Return the ids that are in the index now."""
        if not ids:
            return ids
        try:
            found = self._client.mget(index=name, body={"ids": sorted(ids)}, _source=False)
        except NotFoundError:
            return set()
        return {reply["_id"] for reply in found["docs"] if reply.get("found")}
