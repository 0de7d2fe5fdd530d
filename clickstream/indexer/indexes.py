"""The indexes of events and sessions in OpenSearch: created, checked and deleted.

Documents are written through an alias that carries the token of the backfill: a request of an
earlier backfill, however late it arrives, finds no such alias.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from time import time_ns
from typing import Any

from opensearchpy import OpenSearch

from clickstream.indexer import index_state
from clickstream.indexer.checkpoint import Checkpoint
from clickstream.indexer.documents import ALIAS_MARK
from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.index_state import UNKNOWN_STATE, IndexState
from clickstream.indexer.ownership import (
    OWNER_KEY,
    refuse_foreign_indexes,
    refuse_foreign_state,
)
from clickstream.indexer.templates import templates

# How long OpenSearch keeps the version of a deleted document, and so ignores older versions.
GC_DELETES = "1h"
# The reason for the first backfill.
NOTHING_INDEXED = "nothing of this database is indexed yet"


def uuids(client: OpenSearch, names: IndexNames) -> dict[str, str]:
    """Return the UUIDs of the existing indexes of events and sessions, by name."""
    reply: dict[str, Any] = client.indices.get_settings(
        index=f"{names.events}-*,{names.sessions}*",
        name="index.uuid",
        params={"flat_settings": "true"},
    )
    return {
        name: found["settings"]["index.uuid"]
        for name, found in reply.items()
        if names.is_of_documents(name)
    }


def add_fields(client: OpenSearch, names: IndexNames) -> None:
    """Add the fields of the templates that the existing indexes do not have.

    Documents that were indexed earlier do not have them. Raises OpenSearchException.
    """
    by_template = templates(names)
    for name in sorted(uuids(client, names)):
        template = by_template[names.sessions if name == names.sessions else names.events]
        fields = template["template"]["mappings"]["properties"]
        client.indices.put_mapping(index=name, body={"properties": fields})


class IndexSet:
    """The indexes of events and sessions that belong to one checkpoint; for the leader only.

    Every change writes the state document first. That fails if another indexer has become the
    leader since, so an old leader deletes and creates nothing. Indexes of another database or
    another program are not changed: the methods then raise ForeignIndexError.
    """

    def __init__(self, client: OpenSearch, names: IndexNames) -> None:
        self._client = client
        self._names = names
        self._state = UNKNOWN_STATE
        self._reduced: set[str] = set()

    @property
    def alias_suffix(self) -> str:
        """Return what follows the name of an index in the name of the alias for writing."""
        return f"{ALIAS_MARK}{self._state.token}"

    def check(self, checkpoint: Checkpoint | None, database: str) -> str | None:
        """Return why the indexes do not belong to the checkpoint; None if they do.

        If they do, indexes that the state does not list are deleted.
        """
        state, found = self.refuse_foreign(database)
        unlisted = _unlisted(state or UNKNOWN_STATE, found)
        mismatch = _mismatch(checkpoint, state, found)
        if state is None or mismatch is not None:
            self._state = state or UNKNOWN_STATE
            return mismatch
        if self._state == UNKNOWN_STATE or unlisted:
            # From now on, an earlier leader can no longer write it.
            state = index_state.write(self._client, self._names.state, state)
        self._state = state
        self._delete(unlisted)
        return None

    def refuse_foreign(self, database: str) -> tuple[IndexState | None, dict[str, str]]:
        """Return the stored state and the UUIDs of the indexes, none of which is foreign."""
        state = index_state.read(self._client, self._names.state)
        refuse_foreign_state(state, database)
        found = uuids(self._client, self._names)
        refuse_foreign_indexes(self._client, _unlisted(state or UNKNOWN_STATE, found), database)
        return state, found

    def start_backfill(self, token: str, database: str) -> None:
        """Write the state of a new, empty set of indexes, and delete all others.

        If this is interrupted, the next check finds a mismatch, or deletes the rest.
        """
        found = uuids(self._client, self._names)
        refuse_foreign_indexes(self._client, _unlisted(self._state, found), database)
        self._begin(token, database)
        self._delete(found)

    def take_over(self, database: str) -> None:
        """Delete all indexes with our names, of any owner, and store this database as the owner.

        The state without a token makes the indexer of this database start a backfill, and an
        indexer of another database stop.
        """
        self._state = index_state.read(self._client, self._names.state) or UNKNOWN_STATE
        self._begin("", database)
        self._delete(uuids(self._client, self._names))

    def has(self, name: str) -> bool:
        """Return True if the state lists the index of this name."""
        return name in self._state.indexes

    def mark_reduced(self, name: str) -> None:
        """Note that documents of the index of this name are deleted."""
        self._reduced.add(name)

    def delete_empty(self, kept_from: datetime) -> None:
        """Delete the event indexes whose last document was deleted and that end before a time.

        They get no document again, because no event before that time is accepted.
        """
        for name in sorted(self._reduced):
            if self.has(name) and self._names.ended_before(name, kept_from):
                self._client.indices.refresh(index=name)
                if not self._client.count(index=name)["count"]:
                    self._delete_listed(name)
        self._reduced.clear()

    def ensure(self, name: str) -> None:
        """Create the index of this name unless the state lists it.

        An existing index of this name that the state does not list is deleted first, if it was
        built from this database.
        """
        if self.has(name):
            return
        self._write(self._state)
        existing = uuids(self._client, self._names).keys() & {name}
        refuse_foreign_indexes(self._client, existing, self._state.database)
        self._delete(existing)
        self._client.indices.create(index=name, body=self._definition(name))
        uuid = uuids(self._client, self._names)[name]
        self._write(replace(self._state, indexes={**self._state.indexes, name: uuid}))

    def announce(self, number: int) -> None:
        """Store the number of the next step in OpenSearch, after PostgreSQL has stored it."""
        self._write(replace(self._state, horizon=number))

    def release(self) -> None:
        """Forget the state, which another leader may change from now on."""
        self._state = UNKNOWN_STATE

    def _begin(self, token: str, database: str) -> None:
        """Write the state of a new, empty set of indexes."""
        # Higher than any version written before, even if the state document is gone.
        version = max(self._state.version, time_ns() // 1000)
        index_state.create_index(self._client, self._names.state)
        self._write(IndexState(token, database, version))

    def _definition(self, name: str) -> dict[str, Any]:
        is_session = name == self._names.sessions
        template = self._names.sessions if is_session else self._names.events
        mappings = templates(self._names)[template]["template"]["mappings"]
        meta = {**mappings["_meta"], OWNER_KEY: self._state.database}
        return {
            "settings": {"index.gc_deletes": GC_DELETES},
            "mappings": {**mappings, "_meta": meta},
            "aliases": {f"{name}{self.alias_suffix}": {}},
        }

    def _delete_listed(self, name: str) -> None:
        """Delete an index that the state lists, first from the state."""
        others = {each: uuid for each, uuid in self._state.indexes.items() if each != name}
        self._write(replace(self._state, indexes=others))
        self._delete([name])

    def _delete(self, names: Iterable[str]) -> None:
        """Delete the indexes of these names."""
        for name in sorted(names):
            # One by one: a server may refuse to delete by a pattern.
            self._client.indices.delete(index=name, ignore_unavailable=True)

    def _write(self, state: IndexState) -> None:
        self._state = index_state.write(self._client, self._names.state, state)


def _unlisted(state: IndexState, found: dict[str, str]) -> list[str]:
    """Return the names of the indexes found that the state does not list."""
    return sorted(name for name, uuid in found.items() if state.indexes.get(name) != uuid)


def _mismatch(
    checkpoint: Checkpoint | None, state: IndexState | None, found: dict[str, str]
) -> str | None:
    """Return why the indexes found and the state do not belong to the checkpoint.

    state: one of this database.
    """
    if state is None:
        return NOTHING_INDEXED if checkpoint is None else "OpenSearch has no index of this database"
    if checkpoint is None:
        return (
            "PostgreSQL has no checkpoint of it, because of a rebuild, a restored backup, a "
            "failover, or days without search"
        )
    if state.token != checkpoint.token:
        return (
            "it belongs to another checkpoint, because of a restored backup, a failover, or a "
            "backfill that was interrupted"
        )
    if state.horizon > checkpoint.announced:
        return "the database was restored to an earlier state, by a backup or a failover"
    if not state.indexes.items() <= found.items():
        return "an index was deleted"
    return None
