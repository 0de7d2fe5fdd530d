"""The index in OpenSearch, by hand: verified, made anew, and refused documents sent again."""

import logging
from contextlib import closing

from opensearchpy.exceptions import OpenSearchException

from clickstream.clients import opensearch
from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import connect_or_explain
from clickstream.errors import UserError
from clickstream.indexer import checkpoint, refused_documents
from clickstream.indexer.backlog import Backlog, stuck, wait_until_indexed
from clickstream.indexer.bulk import describe_error
from clickstream.indexer.indexer import running_indexer
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.verify.search_index import Check, IndexDifferences

logger = logging.getLogger(__name__)

APPLICATION = "clickstream search"


def verify(settings: Settings) -> IndexDifferences:
    """Compare the index with PostgreSQL. Raises UserError where a server does not answer."""
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
        closing(opensearch.connect(settings)) as client,
    ):
        try:
            return Check(settings, connection, client).run()
        except OpenSearchException as error:
            raise UserError(
                f"{opensearch_address(settings)} does not "
                f"answer ({describe_error(error)}); ask: python -m clickstream doctor"
            ) from None


def rebuild(settings: Settings) -> str:
    """Make the index anew, by a running consumer or here; a sentence of what was done."""
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        checkpoint.forget(cursor)
    _catch_up(settings)
    return "The index was made anew from PostgreSQL."


def retry_refused(settings: Settings) -> tuple[int, int]:
    """Send the refused documents again; how many there were, and how many there are now."""
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        with connection, connection.cursor() as cursor:
            before = refused_documents.count(cursor)
            refused_documents.send_again(cursor)
        if before:
            _catch_up(settings)
        with connection, connection.cursor() as cursor:
            return before, refused_documents.count(cursor)


def _catch_up(settings: Settings) -> None:
    """Let the index catch up, by the indexer of a running consumer or by one here."""
    stop = Stop().on_signals()
    with running_indexer(settings):
        if not wait_until_indexed(settings, stop, tell=_tell):
            raise KeyboardInterrupt if stop.requested else stuck(settings)


def _tell(behind: Backlog) -> None:
    logger.info("the search index: %s", behind)
