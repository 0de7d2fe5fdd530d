"""A second connection reads the same moment, and does not outlive an error of the first one."""

from collections.abc import Iterator
from contextlib import closing
from time import monotonic

import psycopg2
import pytest

from clickstream.clients.postgres import Connection, Cursor, connect, only_row
from clickstream.settings import Settings
from clickstream.storage.second_reader import reading_beside
from clickstream.storage.snapshot import snapshot
from tests.services.databases import Query

COUNT = "SELECT count(*) FROM conversion_events"
ADD_ROW = "INSERT INTO conversion_events VALUES ('added')"
LONG_QUERY = "SELECT pg_sleep(300)"


def count(cursor: Cursor) -> int:
    cursor.execute(COUNT)
    number: int = only_row(cursor)[0]
    return number


@pytest.fixture
def connections(settings: Settings) -> Iterator[tuple[Connection, Connection]]:
    with (
        closing(connect(settings, application="test")) as first,
        closing(connect(settings, application="test")) as second,
    ):
        yield first, second


def test_both_connections_see_the_same_moment(
    connections: tuple[Connection, Connection], query: Query
) -> None:
    first, second = connections
    with snapshot(first) as cursor:
        before = count(cursor)
        query(ADD_ROW)
        with reading_beside(cursor, second, count) as beside:
            assert beside.result() == before
    assert query(COUNT) == [(before + 1,)]


def test_an_error_cancels_the_query_of_the_second_connection(
    connections: tuple[Connection, Connection],
) -> None:
    first, second = connections
    began = monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        snapshot(first) as cursor,
        reading_beside(cursor, second, lambda other: other.execute(LONG_QUERY)),
    ):
        raise KeyboardInterrupt
    assert monotonic() - began < 60
    assert second.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_an_error_of_the_second_connection_is_raised_by_its_result(
    connections: tuple[Connection, Connection],
) -> None:
    first, second = connections
    with (
        pytest.raises(psycopg2.errors.DivisionByZero),
        snapshot(first) as cursor,
        reading_beside(cursor, second, lambda other: other.execute("SELECT 1 / 0")) as beside,
    ):
        beside.result()
