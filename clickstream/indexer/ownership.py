"""The owner of indexes: the database from which they are built.

An index or a state document of another owner is never changed, except by
`search rebuild --take-over`.
"""

from collections.abc import Iterable

from opensearchpy import OpenSearch

from clickstream.indexer.index_state import IndexState

# The key of the owner in the `_meta` of an index's mapping.
OWNER_KEY = "database"


class ForeignIndexError(Exception):
    """Raised if indexes with our names belong to another database or another program.

    Its text is the reason; `describe_refusal` builds the sentence for the user.
    """


def refuse_foreign_state(state: IndexState | None, database: str) -> None:
    """Raise ForeignIndexError if the state document is that of another database."""
    if state is not None and state.database != database:
        owner = state.database or "another version of this program"
        raise ForeignIndexError(f"its indexes belong to {owner}")


def refuse_foreign_indexes(client: OpenSearch, names: Iterable[str], database: str) -> None:
    """Raise ForeignIndexError if one of these indexes was not built from this database."""
    for name in names:
        owner = _owner(client, name)
        if owner != database:
            made_by = f"belongs to {owner}" if owner else "was not made by this program"
            raise ForeignIndexError(f"its index {name} {made_by}")


def _owner(client: OpenSearch, name: str) -> str:
    """Return the database from which an index is built; "" if its mapping does not say that."""
    mappings = client.indices.get_mapping(index=name)[name]["mappings"]
    return str(mappings.get("_meta", {}).get(OWNER_KEY, ""))


def describe_refusal(address: str, error: ForeignIndexError) -> str:
    """Return the sentence for the user.

    address: that of OpenSearch.
    """
    return (
        f"nothing is indexed into {address}: {error}; give this database other indexes with "
        "OPENSEARCH_INDEX_PREFIX, or delete those and index this database with: "
        "python -m clickstream search rebuild --take-over"
    )
