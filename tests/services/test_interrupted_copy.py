"""PostgreSQL ends while it reads the rows of COPY."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest

from clickstream import cli
from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from clickstream.storage.copy_rows import copy
from tests.services.databases import Query
from tests.services.waiting import eventually

# Each row takes long enough for the backend to be ended before it has stored all.
CREATE_SLOW_TABLE = """
    CREATE TEMPORARY TABLE slow (number bigint, waited text DEFAULT pg_sleep(0.05)::text)
"""
IS_COPYING = "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND query LIKE 'COPY slow%'"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_backend_that_ends_during_a_copy_is_one_error_and_prints_nothing(
    log_format: str,
    settings: Settings,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    cli.start_logging(log_format)
    with (
        closing(connect(settings, application="test")) as connection,
        connection.cursor() as cursor,
        ThreadPoolExecutor(1) as thread,
    ):
        cursor.execute(CREATE_SLOW_TABLE)
        copying = thread.submit(copy, cursor, "slow (number)", ([n] for n in range(2_000)))
        backend = connection.info.backend_pid
        eventually(lambda: query(IS_COPYING.format(backend)) == [(1,)])
        query(f"SELECT pg_terminate_backend({backend})")
        with pytest.raises(psycopg2.OperationalError):
            copying.result()
    assert capfd.readouterr().err == ""
