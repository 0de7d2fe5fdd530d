"""The indexer: copies committed rows from PostgreSQL to OpenSearch, one step at a time.

It has its own connection to PostgreSQL and reads only committed rows, so the consumer's loop never
waits for OpenSearch. After any failure it continues from the checkpoint.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from random import Random
from time import monotonic

import psycopg2

from clickstream.backoff import Backoff
from clickstream.clients import opensearch
from clickstream.clients.postgres import Connection
from clickstream.fail_points import FailPoint, reach
from clickstream.indexer import checkpoint, refused_documents
from clickstream.indexer.bulk import (
    FIRST_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    BulkSender,
    Document,
    Refusal,
    document_of,
)
from clickstream.indexer.document_reader import read_actions, split
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.indexes import NOTHING_INDEXED, IndexSet
from clickstream.indexer.leadership import Leadership
from clickstream.indexer.ownership import ForeignIndexError
from clickstream.indexer.parallel_bulk import SENDING_ERRORS, send_in_parallel
from clickstream.indexer.steps import IndexStep, next_step
from clickstream.plurals import plural
from clickstream.settings import Settings
from clickstream.storage import event_retention

logger = logging.getLogger(__name__)

ROWS_PER_STEP = 20_000
ACTIONS_PER_REQUEST = 2_000
# While nothing changes in PostgreSQL, the indexes in OpenSearch are checked this often.
CHECK_SECONDS = 2.0
# All errors that a turn may raise without a defect in this program.
INDEXER_ERRORS = (psycopg2.Error, ForeignIndexError, *SENDING_ERRORS)


class Indexer:
    """Indexes what changed since the checkpoint, if it is the leader.

    random: for the jitter of retries. pause: waits for a number of seconds between retries.
    clock: returns seconds. rows_per_step: about this many rows are indexed in a turn.
    """

    def __init__(
        self,
        settings: Settings,
        random: Random,
        pause: Callable[[float], object],
        *,
        clock: Callable[[], float] = monotonic,
        rows_per_step: int = ROWS_PER_STEP,
    ) -> None:
        backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random)
        self.leadership = Leadership(settings)
        self._client = opensearch.connect(settings)
        self._sender = BulkSender(self._client, backoff, pause, clock)
        self._names = IndexNames(settings.opensearch_index_prefix)
        self._indexes = IndexSet(self._client, self._names)
        self._clock = clock
        self._rows_per_step = rows_per_step
        self._checked_at: float | None = None

    def turn(self) -> bool:
        """Check the indexes and index the next step; return True if there may be more to do.

        Does nothing if another indexer is the leader. Raises INDEXER_ERRORS, and
        CheckpointLostError if the index was rebuilt meanwhile; `release` before the next turn
        after any of INDEXER_ERRORS.
        """
        connection = self.leadership.acquire()
        if connection is None:
            return False
        with connection, connection.cursor() as cursor:
            current = checkpoint.read(cursor)
            step = next_step(cursor, current, self._rows_per_step) if current else None
            database = checkpoint.database(cursor)
        if current and step is None and not self._is_check_due():
            return False
        mismatch = self._indexes.check(current, database)
        self._checked_at = self._clock()
        if mismatch is not None:
            self._start_backfill(connection, database, mismatch)
        elif step is not None:
            self._index(connection, step)
        else:
            with connection, connection.cursor() as cursor:
                checkpoint.keep_alive(cursor)
        return step is not None or mismatch is not None

    def release(self) -> None:
        """Give up leadership; the next turn acquires it again, unless another indexer has it."""
        self.leadership.release()
        self._indexes.release()

    def close(self) -> None:
        """Give up leadership and close all connections."""
        self.release()
        self._client.close()

    def _is_check_due(self) -> bool:
        return self._checked_at is None or self._clock() - self._checked_at >= CHECK_SECONDS

    def _start_backfill(self, connection: Connection, database: str, reason: str) -> None:
        """Store a new checkpoint, then the state that belongs to it, and delete the old indexes."""
        token = secrets.token_hex(8)
        with connection, connection.cursor() as cursor:
            checkpoint.create(cursor, token)
        self._indexes.start_backfill(token, database)
        # Logged when it has succeeded, because it is tried again and again during an outage.
        level = logging.INFO if reason == NOTHING_INDEXED else logging.WARNING
        logger.log(level, "backfilling the search index: %s", reason)

    def _index(self, connection: Connection, step: IndexStep) -> None:
        """Index the documents of a step.

        1. Announce the step in PostgreSQL, and then in OpenSearch. 2. Send the documents, and
        delete indexes that retention has emptied. 3. Advance the checkpoint.

        If PostgreSQL loses its last commits, in a failover or by a restored backup, OpenSearch may
        have documents of rows that are gone, with versions that will be used again. Then PostgreSQL
        has lost the announcement too, and the next check starts a backfill.
        """
        with connection, connection.cursor() as cursor:
            number = checkpoint.announce(cursor, step.after)
            kept_from = event_retention.read_kept_from(cursor)
        self._indexes.announce(number)
        sent, refusals = self._send(connection, step)
        if kept_from is not None:
            self._indexes.delete_empty(kept_from)
        reach(FailPoint.DOCUMENTS_SENT)
        with connection, connection.cursor() as cursor:
            checkpoint.advance(cursor, step.after)
            refused_documents.record(cursor, sent, refusals)
        reach(FailPoint.CHECKPOINT_ADVANCED)
        if refusals:
            logger.warning(
                "OpenSearch refused %d %s; list them with: python -m clickstream rejected list",
                len(refusals),
                plural(len(refusals), "document"),
            )

    def _send(
        self, connection: Connection, step: IndexStep
    ) -> tuple[list[Document], list[Refusal]]:
        """Send the documents of a step; return those that were sent and those refused.

        The documents sent are listed only if some documents are recorded as refused: those that
        are sent now may be among them.
        """
        sent: list[Document] = []
        with connection:
            with connection.cursor() as cursor:
                is_listing = refused_documents.any_recorded(cursor)
            chunks = split(
                self._actions(connection, step), ACTIONS_PER_REQUEST, self._sender.max_bytes
            )
            listed = _list_documents(chunks, sent) if is_listing else chunks
            return sent, send_in_parallel(self._sender, listed)

    def _actions(self, connection: Connection, step: IndexStep) -> Iterator[list[bytes]]:
        """Yield the actions of a step, those of an index after it was created if necessary.

        Nothing is deleted from an index that does not exist.
        """
        groups = read_actions(connection, step, self._names, self._indexes.alias_suffix)
        for index_name, is_delete, actions in groups:
            if is_delete:
                if not self._indexes.has(index_name):
                    continue
                self._indexes.mark_reduced(index_name)
            self._indexes.ensure(index_name)
            yield actions


def _list_documents(
    chunks: Iterable[list[bytes]], documents: list[Document]
) -> Iterator[list[bytes]]:
    """Yield the chunks, and append to `documents` those that are in them."""
    for chunk in chunks:
        documents += map(document_of, chunk)
        yield chunk
