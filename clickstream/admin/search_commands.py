"""Commands on the search index: verify it, rebuild it, send refused documents again."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from clickstream.clients import opensearch
from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import Connection, connect_or_explain
from clickstream.errors import UserError
from clickstream.indexer import checkpoint, index_state, refused_documents
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
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.verify.search_index import IndexVerification, verify_index


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
        indexes = IndexSet(client, IndexNames(settings.opensearch_index_prefix))
        database = _database(connection)
        if take_over:
            indexes.take_over(database)
        else:
            indexes.refuse_foreign(database)
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
                f"{opensearch_address(settings)} does not answer ({describe_error(error)}); run: "
                "python -m clickstream doctor"
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
