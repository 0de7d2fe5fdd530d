"""Documents read from PostgreSQL, in bounded memory however large they are."""

from collections.abc import Iterable, Iterator

from clickstream.clients.postgres import Connection
from clickstream.indexer.checkpoint import IndexStep
from clickstream.indexer.documents import ONE_EVENT, ONE_SESSION, SESSIONS

FETCH_ROWS = 100


def actions(
    connection: Connection, step: IndexStep, alias_suffix: str = ""
) -> Iterator[tuple[str, bytes]]:
    """The actions of a step, each with the name of its index; within the caller's transaction.

    alias_suffix: what the names of the indexes get, to be written through aliases.
    """
    parameters = {**step.parameters, "alias_suffix": alias_suffix}
    with connection.cursor("documents") as reader:
        reader.itersize = FETCH_ROWS
        reader.execute(step.statement, parameters)
        for index_name, document_id, lines in reader:
            if lines is not None:
                yield index_name, lines.encode()
                continue
            with connection.cursor() as cursor:
                one = ONE_SESSION if index_name == SESSIONS else ONE_EVENT
                cursor.execute(one, {**parameters, "id": document_id})
                for (large,) in cursor:  # none, where a session has just ceased to exist
                    yield index_name, large.encode()


def parts(actions: Iterable[bytes], most: int, most_bytes: int) -> Iterator[list[bytes]]:
    """Actions in lists of so many and so many bytes; a larger one goes alone."""
    part: list[bytes] = []
    size = 0
    for action in actions:
        if part and (len(part) == most or size + len(action) > most_bytes):
            yield part
            part, size = [], 0
        part.append(action)
        size += len(action) + 1
    if part:
        yield part
