"""The index matches PostgreSQL after random histories with an indexer at work in between."""

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection
from clickstream.indexer.indexer import Indexer
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import watermark
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.indexers import assert_indexed, open_indexer
from tests.services.records import START
from tests.services.test_property import BURSTS, RULES

DELETE_CHECKPOINT = "DELETE FROM search_cursor"
# After each batch: a turn of the indexer or nothing, a consumer or an indexer that restarts, a new
# index, or a watermark (in seconds) that closes sessions.
NEXT = st.sampled_from(
    ["turn"] * 4 + [None] * 6 + ["restart", "other indexer", "new index", 100, 200]
)
HISTORIES = st.lists(st.tuples(BURSTS, BURSTS, NEXT), min_size=4, max_size=20)


def close_sessions(connection: Connection, seconds: int, rule: Rule) -> None:
    """Close the sessions that a watermark of this many seconds after START has passed."""
    with connection, connection.cursor() as cursor:
        watermark.close_sessions(cursor, START + timedelta(seconds=seconds), rule.timeout)


@examples(max_examples=examples().max_examples // 5)
@given(rule=st.sampled_from(RULES), rows_per_step=st.integers(1, 8), history=HISTORIES)
def test_random_histories_are_indexed(
    transactions: Connection,
    query: Query,
    searching: Settings,
    client: OpenSearch,
    rule: Rule,
    rows_per_step: int,
    history: list[Any],
) -> None:
    """Sessions extend, merge, split, close and come back between the turns of the indexer."""
    query(DELETE_CHECKPOINT)
    batches = Batches(transactions, rule)
    with ExitStack() as indexers:

        def another() -> Indexer:
            return indexers.enter_context(open_indexer(searching, rows_per_step=rows_per_step))

        indexer = another()
        for *shares, then in history:
            batches.store(shares)
            if then == "restart":
                batches.cache.clear()
            elif then == "other indexer":
                indexer.close()
                indexer = another()
            elif then == "turn":
                indexer.turn()
            elif then == "new index":
                query(DELETE_CHECKPOINT)
            elif then is not None:
                close_sessions(transactions, then, rule)
        assert_indexed(indexer, transactions, client)
