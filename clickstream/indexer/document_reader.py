"""Documents read from PostgreSQL as bulk actions, in bounded memory however large they are."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from psycopg2.extensions import BYTES, register_type

from clickstream.clients.postgres import Connection
from clickstream.indexer.documents import (
    SELECT_EVENT_DOCUMENT,
    SELECT_SESSION_DOCUMENT,
)
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.steps import IndexStep

FETCH_ROWS = 1_000
INDEX_AND_KIND = itemgetter(0, 1)


class ActionGroup(NamedTuple):
    """Actions for one index, which all delete their documents or all index them."""

    index_name: str
    is_delete: bool
    actions: list[bytes]


def read_actions(
    connection: Connection, step: IndexStep, names: IndexNames, alias_suffix: str = ""
) -> Iterator[ActionGroup]:
    """Yield the actions of the documents of a step, in groups of at most FETCH_ROWS.

    connection: in the caller's transaction. alias_suffix: appended to the index name within the
    action, so that the document is written through that alias.
    """
    parameters = {**step.parameters, **names.query_parameters, "alias_suffix": alias_suffix}
    with connection.cursor("documents") as reader:
        register_type(BYTES, reader)  # the actions are sent as they are
        reader.execute(step.query, parameters)
        while rows := reader.fetchmany(FETCH_ROWS):
            for (index_name, is_delete), group in groupby(rows, key=INDEX_AND_KIND):
                name = index_name.decode()
                query = SELECT_SESSION_DOCUMENT if name == names.sessions else SELECT_EVENT_DOCUMENT
                actions = []
                for _, _, action, large_id in group:
                    if action is not None:
                        actions.append(action)
                    else:
                        actions += _read_large(connection, query, parameters, large_id.decode())
                yield ActionGroup(name, is_delete, actions)


def _read_large(
    connection: Connection, query: str, parameters: dict[str, Any], document_id: str
) -> list[bytes]:
    """Return the action of one large document; none if it was removed since."""
    with connection.cursor() as cursor:
        cursor.execute(query, {**parameters, "id": document_id})
        return [action.encode() for (action,) in cursor]


def split(groups: Iterable[list[bytes]], max_actions: int, max_bytes: int) -> Iterator[list[bytes]]:
    """Join groups of actions and split them into lists of at most this many actions and bytes.

    An action of more than max_bytes has a list of its own.
    """
    waiting: list[bytes] = []
    for actions in groups:
        waiting += actions
        while len(waiting) >= max_actions:
            yield from _bisect(waiting[:max_actions], max_bytes)
            del waiting[:max_actions]
    yield from _bisect(waiting, max_bytes)


def _bisect(actions: list[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    """Yield the actions in lists of at most max_bytes, none of which is empty."""
    if len(actions) > 1 and sum(map(len, actions)) + len(actions) > max_bytes:
        middle = len(actions) // 2
        yield from _bisect(actions[:middle], max_bytes)
        yield from _bisect(actions[middle:], max_bytes)
    elif actions:
        yield actions
