"""Commands on the search index: verify it, rebuild it, send refused documents again."""

from contextlib import closing

from opensearchpy.exceptions import OpenSearchException

from clickstream.clients import opensearch
from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import connect_or_explain
from clickstream.errors import UserError
from clickstream.indexer import checkpoint, refused_documents
from clickstream.indexer.background import running_indexer
from clickstream.indexer.backlog import stuck_error, wait_until_indexed
from clickstream.indexer.leadership import APPLICATION
from clickstream.indexer.opensearch_errors import describe_error
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.verify.search_index import IndexVerification, verify_index


def verify(settings: Settings) -> IndexVerification:
    """Compare the index with PostgreSQL. Raises UserError if a server does not answer."""
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
        closing(opensearch.connect(settings)) as client,
    ):
        try:
            return verify_index(settings, connection, client)
        except OpenSearchException as error:
            raise UserError(
                f"{opensearch_address(settings)} does not answer ({describe_error(error)}); run: "
                "python -m clickstream doctor"
            ) from None


def rebuild(settings: Settings) -> str:
    """Rebuild the index, and return a sentence for the user.

    The indexer of a running consumer does it, or one in this process.
    """
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        checkpoint.forget(cursor)
    _catch_up(settings)
    return "The index was rebuilt from PostgreSQL."


def retry_refused(settings: Settings) -> tuple[int, int]:
    """Send the refused documents again; return their number before and after that."""
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        with connection, connection.cursor() as cursor:
            before = refused_documents.count(cursor)
            refused_documents.send_again(cursor)
        if before:
            _catch_up(settings)
        with connection, connection.cursor() as cursor:
            return before, refused_documents.count(cursor)


def _catch_up(settings: Settings) -> None:
    """Wait until the index has caught up, with an indexer here in case no consumer runs one."""
    stop = Stop().on_signals()
    with running_indexer(settings):
        if not wait_until_indexed(settings, stop):
            raise KeyboardInterrupt if stop.requested else stuck_error(settings)
