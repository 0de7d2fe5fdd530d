"""Creating what the indexer needs in OpenSearch: index templates, and new fields of indexes."""

from contextlib import closing

from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    OpenSearchException,
    RequestError,
)

from clickstream.clients import opensearch
from clickstream.clients.addresses import opensearch_address
from clickstream.errors import UserError, first_line
from clickstream.indexer import indexes, templates
from clickstream.indexer.index_names import IndexNames
from clickstream.settings import Settings


def apply_search(settings: Settings) -> str:
    """Create or replace the index templates, and add new fields to indexes.

    Returns a sentence. Raises UserError if OpenSearch does not accept the templates.
    """
    server = opensearch_address(settings)
    names = IndexNames(settings.opensearch_index_prefix)
    try:
        with closing(opensearch.connect(settings)) as client:
            templates.put(client, names)
            indexes.add_fields(client, names)
    except (AuthenticationException, AuthorizationException):
        raise UserError(
            f"{server} does not let OPENSEARCH_USER put index templates; check "
            "OPENSEARCH_PASSWORD, or set all OPENSEARCH_* with an administrator's user and "
            "password in the environment of: python create_schema.py"
        ) from None
    except RequestError as error:
        raise UserError(
            f"{server} refuses an index template ({first_line(error)}); "
            "remove or change the template or index there that conflicts with it"
        ) from None
    except OpenSearchException as error:
        raise UserError(
            f"cannot put the index templates into {server} ({type(error).__name__}); "
            "check OPENSEARCH_*, or find the cause with: python -m clickstream doctor"
        ) from None
    return f"Index templates {names.events} and {names.sessions} are up to date."
