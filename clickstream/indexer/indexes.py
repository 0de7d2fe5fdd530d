"""The indexes in OpenSearch, and the state document that says which they are.

The state carries the token that stands beside the cursor in PostgreSQL, and the UUID of each
index: one that was deleted, even if it was made again, is noticed. It is written under ever higher
versions, so that an indexer that was replaced, and a request that arrives late, cannot write it;
whoever deletes an index writes it before.

Documents are written through an alias that carries the token: what was sent to an earlier filling
finds none, however late it arrives.
"""

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError

from clickstream.indexer import templates
from clickstream.indexer.bulk import SearchOutageError
from clickstream.indexer.documents import ALIAS_MARK, EVENTS, SESSIONS

STATE = "clickstream-search-state"
STATE_ID = "state"
STATE_MAPPING = {"dynamic": "false"}
# Nobody else's: a topic that a connector writes may be called clickstream-events.
OURS = re.compile(rf"{EVENTS}-([0-9]+\.[0-9]{{2}}|older)|{SESSIONS}")
# A delete is remembered so long, and with it that what arrives late is older.
GC_DELETES = "1h"


@dataclass(frozen=True, slots=True)
class State:
    """What the state document says.

    database: whose index it is. version: that of the document. horizon: that of the cursor,
    written after it: one that is ahead of the cursor shows that the database was set back.
    indexes: UUIDs by name.
    """

    token: str
    database: str
    version: int
    horizon: int = 0
    indexes: dict[str, str] = field(default_factory=dict)


UNKNOWN = State(token="", database="", version=0)


def alias_suffix(token: str) -> str:
    """What the names of the aliases of a filling have behind those of the indexes."""
    return f"{ALIAS_MARK}{token}"


def read(client: OpenSearch) -> State | None:
    """The stored state; None where there is none."""
    try:
        found = client.get(index=STATE, id=STATE_ID)
    except NotFoundError as error:
        if not _is_of_opensearch(error.info):
            raise SearchOutageError(f"404 of something before it: {error.error}") from None
        return None
    source = dict(found["_source"])
    try:
        return State(**{**source, "version": found["_version"]})
    except TypeError:  # of another version of the product
        return replace(UNKNOWN, version=found["_version"])


def _is_of_opensearch(reply: Any) -> bool:
    """Whether a 404 says that there is no such document or index."""
    if not isinstance(reply, dict):
        return False
    error = reply.get("error")
    return "found" in reply or (
        isinstance(error, dict) and error.get("type") == "index_not_found_exception"
    )


def begin(client: OpenSearch, state: State) -> State:
    """Store the first state of a filling."""
    if not client.indices.exists(index=STATE):
        client.indices.create(index=STATE, body={"mappings": STATE_MAPPING})
    return write(client, state)


def write(client: OpenSearch, state: State) -> State:
    """Store the state under the next version, which it then has.

    Raises SearchOutageError where another indexer has written it meanwhile.
    """
    state = replace(state, version=state.version + 1)
    version = {"version": state.version, "version_type": "external"}
    try:
        client.index(index=STATE, id=STATE_ID, body=asdict(state), params=version)
    except ConflictError:
        raise SearchOutageError("another indexer works on its indexes") from None
    return state


def present(client: OpenSearch) -> dict[str, str]:
    """The UUIDs of the indexes of events and sessions that there are, by name."""
    found: dict[str, Any] = client.indices.get_settings(
        index=f"{EVENTS}-*,{SESSIONS}*", name="index.uuid", params={"flat_settings": "true"}
    )
    return {
        name: each["settings"]["index.uuid"] for name, each in found.items() if OURS.fullmatch(name)
    }


def create(client: OpenSearch, state: State, name: str) -> State:
    """Make an index and enter it into the state.

    One of this name that the state does not know has nothing of ours, and goes.
    """
    state = write(client, state)
    client.indices.delete(index=name, ignore_unavailable=True)
    template = templates.TEMPLATES[SESSIONS if name == SESSIONS else EVENTS]["template"]
    body = {
        "settings": {"index.gc_deletes": GC_DELETES},
        "mappings": template["mappings"],
        "aliases": {f"{name}{alias_suffix(state.token)}": {}},
    }
    client.indices.create(index=name, body=body)
    uuid = present(client)[name]
    return write(client, replace(state, indexes={**state.indexes, name: uuid}))


def delete_unknown(client: OpenSearch, state: State) -> State:
    """Delete the indexes of events and sessions that the state does not know, each by its name."""
    unknown = sorted(present(client).keys() - state.indexes.keys())
    if unknown:
        state = write(client, state)
    for name in unknown:
        client.indices.delete(index=name, ignore_unavailable=True)
    return state
