"""The state document in OpenSearch: which indexes exist, and from which database they are built.

Each write has a higher version than the last, so an indexer that is no longer the leader, or a
request that arrives late, cannot overwrite it.
"""

from dataclasses import asdict, dataclass, field, replace

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError

from clickstream.indexer.opensearch_errors import SearchOutageError, is_not_found

STATE_ID = "state"
STATE_MAPPINGS = {"dynamic": "false"}


@dataclass(frozen=True, slots=True)
class IndexState:
    """The content of the state document.

    token: that of the checkpoint. database: the name of the database that is indexed. version: the
    document's own. horizon: the number of the last step announced (earlier versions of the program
    stored a horizon, which is never greater); if it is ahead of the checkpoint's, PostgreSQL has
    lost commits. indexes: UUIDs by name; an index that was deleted and created again has another
    one.
    """

    token: str
    database: str
    version: int
    horizon: int = 0
    indexes: dict[str, str] = field(default_factory=dict)


UNKNOWN_STATE = IndexState(token="", database="", version=0)


def create_index(client: OpenSearch, index: str) -> None:
    """Create the index of the state document if it does not exist."""
    if not client.indices.exists(index=index):
        client.indices.create(index=index, body={"mappings": STATE_MAPPINGS})


def read(client: OpenSearch, index: str) -> IndexState | None:
    """Return the stored state; None if there is none.

    Raises SearchOutageError for a 404 that does not come from OpenSearch, but from a proxy.
    """
    try:
        reply = client.get(index=index, id=STATE_ID)
    except NotFoundError as error:
        if not is_not_found(error.info):
            raise SearchOutageError(
                f"a reply 404 that does not come from OpenSearch: {error.error}"
            ) from None
        return None
    source = dict(reply["_source"])
    try:
        return IndexState(**{**source, "version": reply["_version"]})
    except TypeError:  # another version of the program has written it
        return replace(UNKNOWN_STATE, version=reply["_version"])


def write(client: OpenSearch, index: str, state: IndexState) -> IndexState:
    """Store the state under the next version, and return it with that version.

    Raises SearchOutageError if another indexer has written it since.
    """
    state = replace(state, version=state.version + 1)
    version = {"version": state.version, "version_type": "external"}
    try:
        client.index(index=index, id=STATE_ID, body=asdict(state), params=version)
    except ConflictError:
        raise SearchOutageError("another indexer writes to its indexes") from None
    return state
