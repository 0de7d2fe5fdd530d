"""Random histories and an indexer in between: the index is what the tables say."""

from contextlib import ExitStack, closing
from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from clickstream.clients.postgres import Connection
from clickstream.indexer import indexer as indexer_module
from clickstream.indexer.indexer import Indexer
from clickstream.model.sessions import Rule
from clickstream.settings import Settings
from clickstream.storage import watermark
from tests.services import search_oracle
from tests.services.batches import Batches
from tests.services.databases import Query
from tests.services.records import START
from tests.services.search_oracle import catch_up
from tests.services.test_property import BURSTS, RULES

NO_INDEX = "DELETE FROM search_cursor"
# What may follow a batch: a step of the index or nothing, a restart of either side, a watermark
# that closes sessions (in seconds).
SEQUELS = st.sampled_from(
    ["index"] * 4 + [None] * 6 + ["restart", "other indexer", "new index", 100, 200]
)
STEPS = st.lists(st.tuples(BURSTS, BURSTS, SEQUELS), min_size=4, max_size=20)


def close_sessions(connection: Connection, seconds: int, rule: Rule) -> None:
    """Close what the watermark, so many seconds after START, has passed."""
    with connection, connection.cursor() as cursor:
        watermark.close_sessions(cursor, START + timedelta(seconds=seconds), rule.timeout)


@examples(max_examples=examples().max_examples // 5)
@given(rule=st.sampled_from(RULES), most=st.integers(1, 8), steps=STEPS)
def test_random_histories_are_indexed(
    transactions: Connection,
    query: Query,
    searching: Settings,
    client: OpenSearch,
    rule: Rule,
    most: int,
    steps: list[Any],
) -> None:
    """Sessions extend, merge, split, close and come back between the steps of the indexer.

    most: rows of a step.
    """
    query(NO_INDEX)
    batches = Batches(transactions, rule)
    with ExitStack() as indexers:
        indexers.enter_context(patch.object(indexer_module, "ROWS_AT_ONCE", most))
        indexer = indexers.enter_context(closing(Indexer(searching, Random(1))))
        for *shares, sequel in steps:
            batches.store(shares)
            if sequel == "restart":
                batches.visitors.clear()
            elif sequel == "other indexer":
                indexer.close()
                indexer = indexers.enter_context(closing(Indexer(searching, Random(1))))
            elif sequel == "index":
                indexer.turn()
            elif sequel == "new index":
                query(NO_INDEX)
            elif sequel is not None:
                close_sessions(transactions, sequel, rule)
        catch_up(indexer, transactions)
        search_oracle.check_documents(transactions, client)
