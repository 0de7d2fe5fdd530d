"""The indexes of events and sessions in OpenSearch: created, checked and deleted.

Documents are written through an alias that carries the token of the backfill: a request of an
earlier backfill, however late it arrives, finds no such alias.
"""

import re
from dataclasses import replace
from time import time_ns
from typing import Any

from opensearchpy import OpenSearch

from clickstream.indexer import index_state
from clickstream.indexer.checkpoint import Checkpoint
from clickstream.indexer.documents import ALIAS_MARK, EVENT_INDEX_PREFIX, SESSION_INDEX
from clickstream.indexer.index_state import UNKNOWN_STATE, IndexState
from clickstream.indexer.opensearch_errors import SearchOutageError
from clickstream.indexer.templates import TEMPLATES

# Exact, because a connector that copies a topic may create an index named clickstream-events.
OUR_INDEX = re.compile(rf"{EVENT_INDEX_PREFIX}-([0-9]+\.[0-9]{{2}}|older)|{SESSION_INDEX}")
# How long OpenSearch keeps the version of a deleted document, and so ignores older ones.
GC_DELETES = "1h"


def uuids(client: OpenSearch) -> dict[str, str]:
    """Return the UUIDs of the existing indexes of events and sessions, by name."""
    reply: dict[str, Any] = client.indices.get_settings(
        index=f"{EVENT_INDEX_PREFIX}-*,{SESSION_INDEX}*",
        name="index.uuid",
        params={"flat_settings": "true"},
    )
    return {
        name: found["settings"]["index.uuid"]
        for name, found in reply.items()
        if OUR_INDEX.fullmatch(name)
    }


class IndexSet:
    """The indexes of events and sessions that belong to one checkpoint; for the leader only.

    Every change writes the state document first. That fails if another indexer has become the
    leader since, so an old leader deletes and creates nothing.
    """

    def __init__(self, client: OpenSearch) -> None:
        self._client = client
        self._state = UNKNOWN_STATE
        self._last_token = ""  # of the last check that found no mismatch

    @property
    def alias_suffix(self) -> str:
        """Return what follows the name of an index in the name of the alias for writing."""
        return f"{ALIAS_MARK}{self._state.token}"

    def check(self, checkpoint: Checkpoint | None, database: str) -> str | None:
        """Return why the indexes do not belong to the checkpoint; None if they do.

        If they do, indexes that the state does not list are deleted. Raises SearchOutageError if
        another database has taken the indexes over.
        """
        state = index_state.read(self._client)
        self._refuse_take_over(checkpoint, state, database)
        mismatch = self._mismatch(checkpoint, state, database)
        if state is None or mismatch is not None:
            self._state = state or UNKNOWN_STATE
            return mismatch
        if self._state == UNKNOWN_STATE:
            # From now on, an earlier leader can no longer write it.
            state = index_state.write(self._client, state)
        self._state = state
        self._last_token = state.token
        self._delete_unlisted()
        return None

    def start_backfill(self, token: str, database: str) -> None:
        """Write the state of a new, empty set of indexes, and delete all others.

        If this is interrupted, the next check finds a mismatch, or deletes the rest.
        """
        # Higher than any version written before, even if the state document is gone.
        version = max(self._state.version, time_ns() // 1000)
        index_state.create_index(self._client)
        self._write(IndexState(token, database, version))
        self._delete_unlisted()

    def ensure(self, name: str) -> None:
        """Create the index of this name unless the state lists it.

        An existing index of this name that the state does not list is deleted first.
        """
        if name in self._state.indexes:
            return
        self._write(self._state)
        self._client.indices.delete(index=name, ignore_unavailable=True)
        self._client.indices.create(index=name, body=self._definition(name))
        uuid = uuids(self._client)[name]
        self._write(replace(self._state, indexes={**self._state.indexes, name: uuid}))

    def store_horizon(self, horizon: int) -> None:
        """Store the horizon of the checkpoint in the state."""
        self._write(replace(self._state, horizon=horizon))

    def release(self) -> None:
        """Forget the state, which another leader may change from now on."""
        self._state = UNKNOWN_STATE

    def _refuse_take_over(
        self, checkpoint: Checkpoint | None, state: IndexState | None, database: str
    ) -> None:
        """Raise if the indexes, until now ours, belong to another database.

        Otherwise two databases would delete each other's indexes without end.
        """
        if checkpoint is None or state is None or checkpoint.token != self._last_token:
            return
        if state.token != checkpoint.token and state.database not in {"", database}:
            raise SearchOutageError(
                f"its indexes were taken over for {state.database}; give each database an "
                "OpenSearch of its own"
            )

    def _mismatch(
        self, checkpoint: Checkpoint | None, state: IndexState | None, database: str
    ) -> str | None:
        if checkpoint is None:
            return "nothing of this database is indexed yet"
        if state is None:
            return "OpenSearch has no index of this database"
        if (state.token, state.database) != (checkpoint.token, database):
            return "the index in OpenSearch was not built from this database"
        if state.horizon > checkpoint.horizon:
            return "the database was restored to an earlier state"
        if not state.indexes.items() <= uuids(self._client).items():
            return "an index was deleted"
        return None

    def _definition(self, name: str) -> dict[str, Any]:
        template = TEMPLATES[SESSION_INDEX if name == SESSION_INDEX else EVENT_INDEX_PREFIX]
        return {
            "settings": {"index.gc_deletes": GC_DELETES},
            "mappings": template["template"]["mappings"],
            "aliases": {f"{name}{self.alias_suffix}": {}},
        }

    def _delete_unlisted(self) -> None:
        """Delete the indexes of events and sessions that the state does not list."""
        unlisted = sorted(uuids(self._client).keys() - self._state.indexes.keys())
        if unlisted:
            self._write(self._state)
        for name in unlisted:
            # One by one: a server may refuse to delete by a pattern.
            self._client.indices.delete(index=name, ignore_unavailable=True)

    def _write(self, state: IndexState) -> None:
        self._state = index_state.write(self._client, state)
