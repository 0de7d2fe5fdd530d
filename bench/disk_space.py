"""Bytes of each event and session in PostgreSQL, its write-ahead log and OpenSearch.

Simulated traffic of a shop, in plain tables. The search index needs a real OpenSearch, named by
TEST_OPENSEARCH_HOST and _PORT; tests/servers/opensearch.sh starts one. Run it from the project's
folder: python -m bench.disk_space
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from bench import results, servers
from bench.scripts import PROJECT, run
from clickstream import cli
from clickstream.clients import opensearch
from clickstream.clients.postgres import Cursor, connect, only_row
from clickstream.settings import Settings

TITLE = "Disk space"
TABLES = ("clickstream_events", "session_metrics")
SIZES = "SELECT pg_table_size(%s::regclass), pg_indexes_size(%s::regclass)"
WRITE_AHEAD_LOG = "SELECT pg_current_wal_lsn() - '0/0'"


def main(argv: Sequence[str] | None = None) -> int:
    """Print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200_000, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _run(arguments.events))


def _run(events: int) -> int:
    names = ["kafka", "postgres"]
    with servers.running(names) as settings, servers.database(settings) as own:
        run(PROJECT, own, "create_schema.py")
        run(PROJECT, own, "producer.py", "--backfill", "7d", "--events", str(events), "--seed", "1")
        with_search = bool(own.opensearch_host)
        rows = _store(replace(own, opensearch_host=""), events)
        if with_search:
            run(PROJECT, own, "consumer.py", "--drain")
            rows += _documents(own)
    header = ["", "number", "bytes each", "of these, indexes"]
    results.keep(TITLE, results.table(header, rows))
    return cli.DONE


def _store(settings: Settings, events: int) -> list[list[str]]:
    """Store the events of the topic, and return a row for each table and for the log."""
    with closing(connect(settings, application="bench")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            before = _one(cursor, WRITE_AHEAD_LOG)
            run(PROJECT, settings, "consumer.py", "--drain")
            written = _one(cursor, WRITE_AHEAD_LOG) - before
            rows = [_table(cursor, name) for name in TABLES]
    return [*rows, ["write-ahead log, by events", f"{events:,}", f"{written / events:,.0f}", ""]]


def _table(cursor: Cursor, name: str) -> list[str]:
    cursor.execute(f"VACUUM {name}")
    number = _one(cursor, f"SELECT count(*) FROM {name}")
    cursor.execute(SIZES, (name, name))
    table, indexes = only_row(cursor)
    each = max(number, 1)
    return [name, f"{number:,}", f"{(table + indexes) / each:,.0f}", f"{indexes / each:,.0f}"]


def _documents(settings: Settings) -> list[list[str]]:
    """Return a row for the documents of events and of sessions, merged into one segment."""
    rows = []
    with closing(opensearch.connect(settings)) as client:
        for kind in ("events", "sessions"):
            pattern = f"{settings.opensearch_index_prefix}-{kind}*"
            client.indices.forcemerge(index=pattern, max_num_segments=1, params={"timeout": 120})
            client.indices.refresh(index=pattern)
            primaries = client.indices.stats(index=pattern)["_all"]["primaries"]
            number, size = primaries["docs"]["count"], primaries["store"]["size_in_bytes"]
            rows.append([f"OpenSearch, {kind}", f"{number:,}", f"{size / max(number, 1):,.0f}", ""])
    return rows


def _one(cursor: Cursor, query: str) -> int:
    cursor.execute(query)
    return int(only_row(cursor)[0])


if __name__ == "__main__":
    raise SystemExit(main())
