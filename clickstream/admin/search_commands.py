"""Commands on the search index: verify it, rebuild it, send refused documents again."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from clickstream.clients import opensearch
from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import Connection, connect_or_explain
from clickstream.errors import UserError
from clickstream.indexer import checkpoint, index_state, indexes, refused_documents
from clickstream.indexer.background import running_indexer
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.indexes import IndexSet
from clickstream.indexer.leadership import APPLICATION
from clickstream.indexer.opensearch_errors import SearchOutageError, describe_error
from clickstream.indexer.ownership import (
    ForeignIndexError,
    describe_refusal,
    refuse_foreign_state,
)
from clickstream.plurals import plural
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.storage.snapshot import snapshot
from clickstream.verify.search_index import IndexVerification, verify_index

MAX_TERMS = 1_000


def verify(settings: Settings) -> IndexVerification:
    """Compare the index with PostgreSQL.

    Raises UserError if a server does not answer, or if the index is that of another database.
    """
    with _connections(settings) as (connection, client):
        names = IndexNames(settings.opensearch_index_prefix)
        refuse_foreign_state(index_state.read(client, names.state), _database(connection))
        return verify_index(settings, connection, client)


def rebuild(settings: Settings, *, take_over: bool) -> str:
    """Rebuild the index, and return a sentence for the user.

    The indexer of a running consumer does it, or one in this process.
    take_over: delete indexes with our names even if they belong to another owner. Without it they
    are not changed, and UserError is raised. Also raises UserError if a server does not answer.
    """
    with _connections(settings) as (connection, client):
        index_set = IndexSet(client, IndexNames(settings.opensearch_index_prefix))
        database = _database(connection)
        if take_over:
            index_set.take_over(database)
        else:
            index_set.refuse_foreign(database)
        with connection, connection.cursor() as cursor:
            checkpoint.forget(cursor)
    _catch_up(settings)
    return "The index was rebuilt from PostgreSQL."


def retry_refused(settings: Settings) -> tuple[int, int]:
    """Send the refused documents again; return their number before and after that."""
    names = IndexNames(settings.opensearch_index_prefix)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        with connection, connection.cursor() as cursor:
            before = refused_documents.count(cursor)
            refused_documents.send_again(cursor, names)
        if before:
            _catch_up(settings)
        with connection, connection.cursor() as cursor:
            return before, refused_documents.count(cursor)


def is_indexed(settings: Settings) -> bool:
    """Return True if this database has a search index, which is not out of use for days."""
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
        snapshot(connection) as cursor,
    ):
        return checkpoint.read(cursor) is not None


def remove_erased(settings: Settings, visitors: Collection[str]) -> None:
    """Wait until the index has no document of visitors who were erased from PostgreSQL.

    The indexer of a running consumer deletes the documents, or one in this process.
    Raises UserError if OpenSearch does not answer, or if it still has such documents.
    """
    with _connections(settings) as (connection, client):
        names = IndexNames(settings.opensearch_index_prefix)
        refuse_foreign_state(index_state.read(client, names.state), _database(connection))
    _catch_up(settings)
    with _connections(settings) as (_, client):
        found = _count_documents(client, names, sorted(visitors))
    if found:
        raise UserError(
            f"{opensearch_address(settings)} has {found:,} {plural(found, 'document')} of what "
            "PostgreSQL no longer has; run: python -m clickstream search rebuild"
        )


def _count_documents(client: OpenSearch, names: IndexNames, visitors: Sequence[str]) -> int:
    number = 0
    for index in indexes.uuids(client, names):
        client.indices.refresh(index=index)
        for start in range(0, len(visitors), MAX_TERMS):
            terms = {"user_id": list(visitors[start : start + MAX_TERMS])}
            number += client.count(index=index, body={"query": {"terms": terms}})["count"]
    return number


@contextmanager
def _connections(settings: Settings) -> Iterator[tuple[Connection, OpenSearch]]:
    """Yield connections to both servers; errors of OpenSearch become UserError."""
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
        closing(opensearch.connect(settings)) as client,
    ):
        try:
            yield connection, client
        except ForeignIndexError as error:
            raise UserError(describe_refusal(opensearch_address(settings), error)) from None
        except (OpenSearchException, SearchOutageError) as error:
            raise UserError(
                f"cannot use {opensearch_address(settings)} ({describe_error(error)}); find the "
                "cause with: python -m clickstream doctor"
            ) from None


def _database(connection: Connection) -> str:
    with connection, connection.cursor() as cursor:
        return checkpoint.database(cursor)


def _catch_up(settings: Settings) -> None:
    """Wait until the index has caught up, with an indexer here in case no consumer runs one."""
    stop = Stop().on_signals()
    with running_indexer(settings) as indexer:
        if not indexer.catch_up(stop):
            raise KeyboardInterrupt
