"""Documents read from PostgreSQL as bulk actions, in bounded memory however large they are."""

from collections.abc import Iterable, Iterator

from clickstream.clients.postgres import Connection
from clickstream.indexer.documents import (
    SELECT_EVENT_DOCUMENT,
    SELECT_SESSION_DOCUMENT,
)
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.steps import IndexStep

FETCH_ROWS = 100


def read_actions(
    connection: Connection, step: IndexStep, names: IndexNames, alias_suffix: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Yield the name of the index and the action of each document of a step.

    connection: in the caller's transaction. alias_suffix: appended to the index name within the
    action, so that the document is written through that alias.
    """
    parameters = {**step.parameters, **names.query_parameters, "alias_suffix": alias_suffix}
    with connection.cursor("documents") as reader:
        reader.itersize = FETCH_ROWS
        reader.execute(step.query, parameters)
        for index_name, document_id, action in reader:
            if action is not None:
                yield index_name, action.encode()
                continue
            with connection.cursor() as cursor:
                is_session = index_name == names.sessions
                query = SELECT_SESSION_DOCUMENT if is_session else SELECT_EVENT_DOCUMENT
                cursor.execute(query, {**parameters, "id": document_id})
                for (large,) in cursor:  # no row if a session was removed since
                    yield index_name, large.encode()


def split(actions: Iterable[bytes], max_actions: int, max_bytes: int) -> Iterator[list[bytes]]:
    """Split actions into lists of at most this many actions and bytes.

    An action of more than max_bytes has a list of its own.
    """
    chunk: list[bytes] = []
    size = 0
    for action in actions:
        if chunk and (len(chunk) == max_actions or size + len(action) > max_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(action)
        size += len(action) + 1
    if chunk:
        yield chunk
