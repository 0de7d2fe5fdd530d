"""The indexes in OpenSearch, and the state document that says which they are.

The state carries the token that stands beside the cursor in PostgreSQL, and the UUID of each
index: one that was deleted, even if it was made again, is noticed.
"""

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from clickstream.search import templates
from clickstream.search.documents import EVENTS, SESSIONS

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

    database: whose index it is. horizon: that of the cursor, written after it: one that is ahead
    of the cursor shows that the database was set back. indexes: UUIDs by name.
    """

    token: str
    database: str
    horizon: int = 0
    indexes: dict[str, str] = field(default_factory=dict)


UNKNOWN = State(token="", database="")


def read(client: OpenSearch) -> State | None:
    """The stored state; None where there is none."""
    try:
        return State(**client.get(index=STATE, id=STATE_ID)["_source"])
    except (NotFoundError, TypeError):  # none, or one of another version
        return None


def begin(client: OpenSearch, state: State) -> None:
    """Store the first state of an index."""
    if not client.indices.exists(index=STATE):
        client.indices.create(index=STATE, body={"mappings": STATE_MAPPING})
    write(client, state)


def write(client: OpenSearch, state: State) -> None:
    """Store the state."""
    client.index(index=STATE, id=STATE_ID, body=asdict(state))


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
    client.indices.delete(index=name, ignore_unavailable=True)
    template = templates.TEMPLATES[SESSIONS if name == SESSIONS else EVENTS]["template"]
    body = {"settings": {"index.gc_deletes": GC_DELETES}, "mappings": template["mappings"]}
    client.indices.create(index=name, body=body)
    state = replace(state, indexes={**state.indexes, name: present(client)[name]})
    write(client, state)
    return state


def delete_all(client: OpenSearch) -> None:
    """Delete the indexes of events and sessions, each by its name."""
    for name in sorted(present(client)):
        client.indices.delete(index=name, ignore_unavailable=True)
